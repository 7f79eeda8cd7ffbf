#pragma once

// BlockFile: one open regular file as the upper's code sees it: the seam through which the cow file and the
// block map do all their I/O, so that tests can fail, cut or lose any single operation
// (tests/support/fault_block_file.h). Thread rule: as pread(2) and pwrite(2): every method may be called from
// any thread. Ownership: an implementation owns what it stands on.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/base/result.h"

namespace varve::block {

class BlockFile {
 public:
  virtual ~BlockFile() = default;

  // Returns: bytes read; fewer than out.size() only at the end of the file; the errno of pread(2).
  virtual Result<std::size_t> read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const = 0;
  // All of `data`, growing the file where needed. On an error a part of it may have been written.
  // Returns: the errno of pwrite(2).
  virtual Status write_at(std::uint64_t offset_bytes, std::span<const std::byte> data) = 0;
  virtual Result<std::uint64_t> size_bytes() const = 0;
  virtual Status truncate(std::uint64_t size_bytes) = 0;
  // fallocate(2) with the same modes and errno values.
  virtual Status allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) = 0;
  // fdatasync(2) when `data_only`, else fsync(2).
  virtual Status sync(bool data_only) = 0;
  // Start of the first data at or after `offset`; empty when a hole reaches to the end of the file.
  virtual Result<std::optional<std::uint64_t>> seek_data(std::uint64_t offset_bytes) const = 0;
  // Start of the first hole at or after `offset`, the end of the file counting as one; empty at or past the
  // end.
  virtual Result<std::optional<std::uint64_t>> seek_hole(std::uint64_t offset_bytes) const = 0;
  // st_blocks: what the file occupies, in units of 512 bytes.
  virtual Result<std::uint64_t> blocks_512() const = 0;
};

}  // namespace varve::block
