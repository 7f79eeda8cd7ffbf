#pragma once

// MetadataBytes: anonymous memory for the metadata of a layer file.
// A mapping of a file turns into SIGBUS when the file is truncated or its disk fails, and what was verified may change
// afterwards. Therefore metadata is read into anonymous memory, once, before it is verified; after that the file cannot hurt.
// Thread rule: immutable, but for writable(). Owns its memory.

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "fs/base/result.h"

namespace varve::layer {

class MetadataBytes {
 public:
  MetadataBytes() = default;
  MetadataBytes(MetadataBytes&& other) noexcept
      : mapping_(std::exchange(other.mapping_, {})), bytes_(std::exchange(other.bytes_, {})) {}
  MetadataBytes& operator=(MetadataBytes&& other) noexcept {
    std::swap(mapping_, other.mapping_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  MetadataBytes(const MetadataBytes&) = delete;
  MetadataBytes& operator=(const MetadataBytes&) = delete;
  ~MetadataBytes();

  // The bytes [offset, offset + size) of the file. Requires: size is not 0. What is aligned to 64 bytes in the file is aligned
  // to them in memory.
  // Returns: ENODATA when the file ends before; ENOMEM.
  static Result<MetadataBytes> load(int fd, std::uint64_t offset_bytes, std::uint64_t size_bytes);

  // Zeros, which take no memory before they are written to. Aligned to a page of the processor. Requires: size is not 0.
  // Returns: ENOMEM.
  static Result<MetadataBytes> reserve(std::uint64_t size_bytes);

  std::span<const std::byte> bytes() const { return bytes_; }
  // Requires: made by reserve().
  std::span<std::byte> writable() { return mapping_; }

 private:
  std::span<std::byte> mapping_;
  std::span<const std::byte> bytes_;
};

}  // namespace varve::layer
