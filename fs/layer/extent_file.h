#pragma once

// ExtentFile: an open regular file of a LayerFile. Thread-safe, immutable. Borrows its LayerFile and that one's parents.

#include <vector>

#include "fs/layer/file_pieces.h"
#include "fs/layer/layer.h"

namespace varve::layer {

class ExtentFile final : public LowerFile {
 public:
  // `pieces`: from pieces_of.
  ExtentFile(std::uint64_t size_bytes, std::vector<Piece> pieces)
      : size_bytes_(size_bytes), pieces_(std::move(pieces)) {}
  ExtentFile(const ExtentFile&) = delete;
  ExtentFile& operator=(const ExtentFile&) = delete;

  std::uint64_t size_bytes() const override { return size_bytes_; }
  Result<std::size_t> read(std::uint64_t offset_bytes, std::span<std::byte> out) const override;
  Result<std::optional<Range>> next_data(std::uint64_t offset_bytes) const override;

 private:
  // The first piece that ends after `offset_bytes`.
  std::vector<Piece>::const_iterator first_piece(std::uint64_t offset_bytes) const;

  const std::uint64_t size_bytes_;
  const std::vector<Piece> pieces_;
};

}  // namespace varve::layer
