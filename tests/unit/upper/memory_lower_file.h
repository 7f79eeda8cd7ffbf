#pragma once

// MemoryLowerFile: a file of a layer that lies in memory, with holes where it is told so.

#include <algorithm>
#include <cstring>
#include <vector>

#include "fs/layer/layer.h"

namespace varve::upper::testing {

class MemoryLowerFile final : public layer::LowerFile {
 public:
  // `data`: the ranges that are no holes, in order; empty: all of it is data.
  explicit MemoryLowerFile(std::vector<std::byte> bytes, std::vector<layer::Range> data = {})
      : bytes_(std::move(bytes)), data_(std::move(data)) {
    if (data_.empty() && !bytes_.empty()) data_.push_back({0, bytes_.size()});
  }

  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, count);
    return count;
  }
  Result<std::optional<layer::Range>> next_data(std::uint64_t offset) const override {
    for (const layer::Range& range : data_) {
      if (offset < range.offset_bytes + range.size_bytes) return std::optional<layer::Range>(range);
    }
    return std::optional<layer::Range>();
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<layer::Range> data_;
};

// Bytes of which none is 0, telling their place.
inline std::vector<std::byte> base_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(1 + (i * 7 + i / 4096) % 199);
  return bytes;
}

}  // namespace varve::upper::testing
