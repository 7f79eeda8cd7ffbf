#pragma once

// ExtentFile: an open regular file of a LayerFile. Thread-safe, immutable. Borrows its LayerFile.

#include <span>

#include "fs/format/layer_layout.h"
#include "fs/layer/layer.h"

namespace varve::layer {

class LayerFile;

class ExtentFile final : public LowerFile {
 public:
  // `extents`: of a validated layer, in its memory; for a file with kInodeInlineExtent empty.
  ExtentFile(const LayerFile& layer, LowerId id, std::span<const format::Extent> extents);
  ExtentFile(const ExtentFile&) = delete;
  ExtentFile& operator=(const ExtentFile&) = delete;

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Result<std::optional<Range>> next_data(std::uint64_t offset_bytes) const override;

 private:
  // The first extent that ends after `offset_bytes`.
  std::span<const format::Extent>::iterator first_extent(std::uint64_t offset_bytes) const;
  // Fills `out`, which lies within `extent`, from `offset_bytes` of the extent on.
  Status read_extent(const format::Extent& extent, std::uint64_t offset_bytes,
                     std::span<std::byte> out) const;

  const LayerFile& layer_;
  LowerId id_;
  std::uint64_t size_bytes_;
  format::Extent inline_extent_{};
  std::span<const format::Extent> extents_;
};

}  // namespace varve::layer
