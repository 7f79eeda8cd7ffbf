#pragma once

// CowFile: one open regular file of the upper, wholly or partly copied. Of a partly copied file the 4 KiB
// blocks that were never written are read from its base in a layer; the block map (block_map.h) tells which.
// All opens of one file share one CowFile. Thread rule: every method may be called from any thread. No lock
// is held while the base is read for a plain read. Ownership: owns the descriptor and the base; borrows the
// UpperStore it was opened from, which must outlive it.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "fs/base/attributes.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/layer/layer.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class CowFile {
 public:
  // `base` may be null exactly when `marks.base` is absent.
  static Result<std::unique_ptr<CowFile>> open(UpperStore& store, ObjectRef object, const Marks& marks,
                                               std::unique_ptr<layer::LowerFile> base);
  // Of a file that has just been created, with no base; `fd` for reading and writing.
  static Result<std::unique_ptr<CowFile>> take(UpperStore& store, UniqueFd fd);
  // Whether no block of a partly copied file was ever written. Requires: nobody has it open.
  static Result<bool> is_untouched(UpperStore& store, const Marks& marks);
  // blocks_512() of such a file, without opening it; `stored`: what the upper says of it.
  static Result<std::uint64_t> untouched_blocks_512(const Attributes& stored, const layer::LowerFile& base);
  virtual ~CowFile() = default;

  virtual int fd() const = 0;            // the upper's file, O_RDWR
  virtual bool is_complete() const = 0;  // no block comes from the base any more
  // Complete, and no mark or map tells of a base: it stays so, and may be changed through any descriptor.
  virtual bool is_ordinary() const = 0;

  virtual Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const = 0;
  // All of `data` or an error; on an error the file shows what it did before the call (within the blocks
  // written).
  virtual Status write(std::uint64_t offset_bytes, std::span<const std::byte> data) = 0;
  // As write(2): where there is no room for all of `data`, as much from its beginning as there is room for.
  // Returns: how many bytes of `data` the file shows now, at least 1; the error when it shows none.
  Result<std::size_t> write_some(std::uint64_t offset_bytes, std::span<const std::byte> data);
  virtual Status truncate(std::uint64_t size_bytes) = 0;
  // fallocate(2): 0, FALLOC_FL_KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE]; EOPNOTSUPP for
  // others.
  virtual Status allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) = 0;
  // lseek(2) with SEEK_DATA or SEEK_HOLE. Returns: ENXIO as there.
  virtual Result<std::uint64_t> seek(std::uint64_t offset_bytes, int whence) const = 0;
  // The first range at or after `offset_bytes` that is not read from the base, for a layer that stores only what changed:
  // blocks of 4 KiB, the last one up to the end of the file. Zeros beyond the end of the base are none of it. Empty when there
  // is no such range.
  virtual Result<std::optional<layer::Range>> next_own(std::uint64_t offset_bytes) const = 0;
  // Data, block map and (unless `data_only`) attributes are on stable storage when it returns.
  virtual Status sync(bool data_only) = 0;
  // st_blocks of the union: what the upper holds and what is still inherited.
  virtual Result<std::uint64_t> blocks_512() const = 0;
};

}  // namespace varve::upper
