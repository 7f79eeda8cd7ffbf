#pragma once

// PlainFile: an open regular file of a DirectoryLayer. Thread-safe: reads carry their own offsets. Owns its descriptor.

#include <cstdint>

#include "fs/base/unique_fd.h"
#include "fs/layer/layer.h"

namespace varve::layer {

class PlainFile final : public LowerFile {
 public:
  // `size_bytes`: as fstat told when it was opened.
  PlainFile(UniqueFd fd, std::uint64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  // Follows SEEK_DATA and SEEK_HOLE of lseek(2); where a file system lacks them, all is data.
  Result<std::optional<Range>> next_data(std::uint64_t offset_bytes) const override;
  std::optional<int> descriptor() const override { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::uint64_t size_bytes_;
};

}  // namespace varve::layer
