#pragma once

// FaultDisk: a simulated disk with named files, whose operations can fail or be cut one by one, and which can
// show what a real disk could hold after a power loss. Tests run code over its BlockFiles once to count the
// operations, and then once more for each of them. Thread rule: one thread. Ownership: files refer to the
// disk, which must outlive them.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fs/block/block_file.h"

namespace varve::testing {

class FaultDisk {
 public:
  struct Plan {
    enum class Kind : std::uint8_t {
      kNone,
      kFail,  // operation `at` fails with `error_number`; a write may have written some of its pages
      kCut,   // so does operation `at`, and everything after it: the process is dead
    };
    Kind kind = Kind::kNone;
    std::uint64_t at = 0;  // counted from 1
    int error_number = 5;  // EIO
  };

  explicit FaultDisk(std::uint32_t seed) : random_(seed) {}

  // --- files ---
  std::unique_ptr<block::BlockFile> open(const std::string& name);  // made when there is none
  bool exists(const std::string& name) const;
  Status remove(const std::string& name);
  Status sync_names();  // makings and removals reach the disk
  // A flag of the file, as an xattr is: on the disk with the file's next sync.
  void set_flag(const std::string& name, bool value);
  bool flag(const std::string& name) const;
  Status clear_flag(const std::string& name);  // an operation that counts

  // --- faults ---
  void set_plan(Plan plan) { plan_ = plan; }
  std::uint64_t operations() const { return operations_; }
  bool was_cut() const { return cut_; }
  // The process is dead, the kernel lives on: everything that was written is still there. Ends a cut.
  void restart_process() { cut_ = false, plan_ = {}; }
  // The kernel is dead, too: of what was not synced an arbitrary part reached the disk. Ends a cut.
  void lose_power(std::uint32_t seed);

 private:
  friend class FaultBlockFile;
  static constexpr std::size_t kSectorBytes = 512;
  static constexpr std::size_t kPageBytes = 4096;

  struct Change {
    enum class Kind : std::uint8_t { kWrite, kSize, kZero, kClearFlag };
    Kind kind = Kind::kWrite;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::vector<std::byte> data;
  };
  struct Content {
    std::vector<std::byte> bytes;
    bool flag = false;
  };
  struct File {
    Content now;                  // as the kernel shows it
    Content disk;                 // as of the last sync
    std::vector<Change> changes;  // since then
    bool on_disk = false;         // the name is
    bool removed = false;
  };

  // Counts one operation. Returns: its error, if it shall have one.
  Status step();
  // Of a write that fails or is cut: how many of its bytes were written, up to a page boundary of the file.
  std::size_t torn_size(std::uint64_t offset, std::size_t size);
  static void apply(Content& content, const Change& change);
  Content surviving(const File& file, std::mt19937& random) const;

  std::map<std::string, File> files_;
  Plan plan_;
  std::uint64_t operations_ = 0;
  bool cut_ = false;
  std::mt19937 random_;
};

}  // namespace varve::testing
