#pragma once

// FilesSoak: random operations on the files of a tree, each checked against a model of what every file must hold, by several
// descriptors and names at once; now and then a clean remount, or kill -9 of the daemon, after which every completed write
// must be there. One object is one round: a new tree, and so many operations that something of the layers is left to the
// end. Thread rule: one thread. Owns the tree and the descriptors.

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/soak/file_model.h"
#include "tests/soak/soak.h"

namespace varve::test {

class FilesSoak {
 public:
  explicit FilesSoak(const RoundPlan& plan);
  // Throws Fault at the first broken promise.
  void run();
  std::uint64_t operations() const { return log_.count(); }
  std::string last_operations() const { return log_.text(); }

 private:
  struct Operation {
    const char* name;
    unsigned weight;  // how often it is chosen
    void (FilesSoak::*run)();
  };

  // --- what is there at the beginning ---
  void seed();
  void seed_file(std::size_t lower, const std::string& name, const std::string& bytes);

  // --- data, through descriptors (files_soak_data.cc) ---
  void read_some();
  void write_some();
  void append_some();
  void truncate_open();
  void allocate();
  void map_and_store();
  void map_and_load();
  void copy_range();
  void seek_holes();
  void sync();
  // `size` bytes at `offset` through `open`, as the kernel gives them.
  std::string read_through(const OpenFile& open, std::size_t offset, std::size_t size);

  // --- names and descriptors (files_soak_names.cc) ---
  void open_one();
  void close_one();
  void truncate_path();
  void rename_one();
  void link_one();
  void unlink_one();
  void create_one();
  void replace_one();
  void stat_one();
  void check_stat(const struct stat& status, const ModelFile& file, const std::string& what);

  // --- of the whole tree (files_soak.cc) ---
  void compare_all();
  void remount();
  void kill_daemon();

  // --- choices ---
  OpenFile& any_open();      // opens one when none is
  OpenFile& any_writable();  // likewise
  std::string any_name();    // that exists; makes a file when there is none
  std::string free_name();   // that does not exist; empty when all do
  std::size_t any_offset(const ModelFile& file);
  std::size_t any_length(std::size_t most);
  std::size_t any_size(const ModelFile& file);  // to truncate to
  void did(std::string what) { log_.add(std::move(what)); }
  void close_all() { open_.clear(); }
  void forget_name(const std::string& name);
  OpenFile& keep_open(OpenFile open);

  static constexpr std::size_t kMaxFileBytes = 2U << 20;
  static constexpr std::size_t kMaxTransferBytes = 200U << 10;
  static constexpr std::size_t kMaxOpen = 10;
  static constexpr std::size_t kBlockBytes = 4096;

  RoundPlan plan_;
  Random random_;
  OperationLog log_;
  SoakTree tree_;
  std::map<std::string, FilePtr> names_;
  std::vector<OpenFile> open_;
  std::vector<Operation> operations_;
  struct FreeBuffer {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<char, FreeBuffer> buffer_;  // kMaxTransferBytes + a block, aligned for O_DIRECT
};

}  // namespace varve::test
