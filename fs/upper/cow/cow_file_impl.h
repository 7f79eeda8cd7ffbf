#pragma once

// The implementation of CowFile, in the open for its three source files and the fault tests only.
//
// A partly copied file goes through three states, never back:
//   partial   some block of the base is not claimed; base_ is set
//   complete  every block is claimed, reads and writes go straight to the upper; the base mark may still be
//   there settled   the base mark and the map are gone: an ordinary file
// Invariants (docs/consistency.md argues them):
//   - the upper file's size is the file's size, always
//   - an unclaimed block shows the base below inherit_end_ and zeros from there on, whatever the upper holds
//   - the upper never grows over unclaimed blocks that a truncation cut off: see prepare_growth_locked
// Lock: mutex_; the host's locks on maps are taken within it, the host's list of open files never is.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "fs/base/mutex.h"
#include "fs/block/block_file.h"
#include "fs/layer/layer.h"
#include "fs/upper/cow/block_map.h"
#include "fs/upper/cow/cow_file.h"
#include "fs/upper/cow/cow_host.h"

namespace varve::upper {

struct CowParts {
  CowHost* host = nullptr;                 // borrowed
  std::unique_ptr<block::BlockFile> data;  // the upper's file
  int fd = -1;                             // of `data`; -1 in tests
  std::uint64_t map_id = 0;
  std::uint64_t base_size_bytes = 0;
  std::unique_ptr<layer::LowerFile> base;  // null: the file is complete
};

class CowFileImpl final : public CowFile {
 public:
  // Returns: EIO when base or map do not fit (one log line).
  static Result<std::unique_ptr<CowFileImpl>> assemble(CowParts parts);
  ~CowFileImpl() override;

  int fd() const override { return fd_; }
  bool is_complete() const override { return complete_.load(std::memory_order_acquire); }
  bool is_ordinary() const override EXCLUDES(mutex_) {
    const ReaderLock lock(mutex_);
    return settled_;
  }
  Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const override
      EXCLUDES(mutex_);
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> data) override EXCLUDES(mutex_);
  Status truncate(std::uint64_t size_bytes) override EXCLUDES(mutex_);
  Status allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) override EXCLUDES(mutex_);
  Result<std::uint64_t> seek(std::uint64_t offset_bytes, int whence) const override EXCLUDES(mutex_);
  Result<std::optional<layer::Range>> next_own(std::uint64_t offset_bytes) const override EXCLUDES(mutex_);
  Status sync(bool data_only) override EXCLUDES(mutex_);
  Result<std::uint64_t> blocks_512() const override EXCLUDES(mutex_);

 private:
  enum class Source : std::uint8_t { kUpper, kBase, kZero };
  // Where the bytes from some offset up to `end_bytes` come from.
  struct Segment {
    std::uint64_t end_bytes = 0;
    Source source = Source::kUpper;
    std::shared_ptr<const layer::LowerFile> base;  // kBase; shared, so that completion cannot pull it away
  };
  // A change of [begin, end) of a file of `size` bytes; blocks_* are the blocks of the base that it touches.
  struct Change {
    std::uint64_t begin_bytes = 0;
    std::uint64_t end_bytes = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t first_block = 0;
    std::uint64_t end_block = 0;
  };

  explicit CowFileImpl(CowParts parts);

  // --- cow_file_io.cc ---
  Segment segment_at(std::uint64_t offset_bytes, std::uint64_t end_bytes) const REQUIRES_SHARED(mutex_);
  Change change_of(std::uint64_t begin_bytes, std::uint64_t end_bytes, std::uint64_t size_bytes) const;
  bool needs_merge(const Change& change, std::uint64_t block) const REQUIRES_SHARED(mutex_);
  // Writes `block` whole: what it inherits, with `data` (empty: zeros) over the range of `change`.
  Status write_merged_locked(const Change& change, std::uint64_t block, std::span<const std::byte> data)
      REQUIRES(mutex_);
  Status write_blocks_locked(const Change& change, std::span<const std::byte> data) REQUIRES(mutex_);
  Status write_upper_locked(std::uint64_t offset_bytes, std::span<const std::byte> data,
                            std::uint64_t size_bytes) REQUIRES(mutex_);
  Status allocate_locked(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) REQUIRES(mutex_);

  // --- cow_file_state.cc ---
  // Before a file of `size_bytes` grows: claims what a truncation cut off of the base, so that it can never
  // come back.
  Status prepare_growth_locked(std::uint64_t size_bytes) REQUIRES(mutex_);
  // Whether nothing that a truncation to `size_bytes` cut off could come back.
  bool tail_is_safe(std::uint64_t size_bytes) const REQUIRES_SHARED(mutex_);
  void update_complete_locked(std::uint64_t size_bytes) REQUIRES(mutex_);
  // Drops base mark and map. Requires: nothing visible comes from the base, and (unless volatile) the upper's
  // file was synced since.
  Status settle_locked() REQUIRES(mutex_);
  // fsync of the upper's file; nothing when volatile.
  Status sync_data_locked() REQUIRES(mutex_);
  // A sync failed: `blocks`, claimed and not durable, may have lost their data.
  void note_lost_locked(const BlockBitmap& blocks) REQUIRES(mutex_);
  // The last part of sync(): makes `blocks`, claimed when the data was synced, durable.
  Status sync_claims(BlockBitmap blocks) EXCLUDES(mutex_);

  // --- cow_file_seek.cc ---
  Result<std::uint64_t> seek_data_locked(std::uint64_t offset_bytes, std::uint64_t size_bytes) const
      REQUIRES_SHARED(mutex_);
  Result<std::uint64_t> seek_hole_locked(std::uint64_t offset_bytes, std::uint64_t size_bytes) const
      REQUIRES_SHARED(mutex_);
  // Whether the bytes of `segment` come from the base, or are zeros as they are behind its end.
  bool is_inherited(std::uint64_t offset_bytes, const Segment& segment) const;
  Result<std::uint64_t> inherited_blocks_512_locked() const REQUIRES_SHARED(mutex_);

  CowHost& host_;
  const int fd_;
  const std::uint64_t map_id_;
  const std::uint64_t base_size_bytes_;
  const std::uint64_t base_blocks_;
  const std::unique_ptr<block::BlockFile> data_;
  std::atomic<bool> complete_{false};

  mutable SharedMutex mutex_;
  std::shared_ptr<const layer::LowerFile> base_ GUARDED_BY(mutex_);
  BlockMap map_ GUARDED_BY(mutex_);
  std::uint64_t inherit_end_bytes_ GUARDED_BY(mutex_) = 0;
  bool settled_ GUARDED_BY(mutex_) = false;
  // Claimed blocks whose data a failed sync may have dropped: never durable until they are written again.
  // Empty as long as no sync failed.
  BlockBitmap lost_ GUARDED_BY(mutex_);
};

}  // namespace varve::upper
