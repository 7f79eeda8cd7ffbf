#pragma once

// MappedMetadata: the metadata of a layer file as bytes in memory.
// A mapping of a file turns into SIGBUS when the file is truncated or its disk fails, and what was verified
// may change afterwards. Therefore metadata up to kCopyLimitBytes is read into anonymous memory, once, before
// it is verified; after that the file cannot hurt. Larger metadata is mapped privately, to be paged in on
// demand: a layer of more than two million inodes, of which the owner must not truncate the file. Thread
// rule: immutable. Owns its memory.

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "fs/base/result.h"

namespace varve::layer {

class MappedMetadata {
 public:
  static constexpr std::uint64_t kCopyLimitBytes = std::uint64_t{256} << 20;

  MappedMetadata() = default;
  MappedMetadata(MappedMetadata&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedMetadata& operator=(MappedMetadata&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  MappedMetadata(const MappedMetadata&) = delete;
  MappedMetadata& operator=(const MappedMetadata&) = delete;
  ~MappedMetadata();

  // The bytes [offset, offset + size) of the file. Requires: offset is a multiple of 4096; size is not 0.
  // Returns: EIO when the file ends before; ENOMEM.
  static Result<MappedMetadata> load(int fd, std::uint64_t offset_bytes, std::uint64_t size_bytes);

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace varve::layer
