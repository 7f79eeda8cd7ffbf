#pragma once

// MemoryLowerFile: a file of a layer that lies in memory, with holes where it is told so.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "fs/layer/layer.h"

namespace varve::testing {

class MemoryLowerFile final : public layer::LowerFile {
 public:
  // All of it is data.
  explicit MemoryLowerFile(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {
    if (!bytes_.empty()) data_.push_back({0, bytes_.size()});
  }
  // `data`: the ranges that are no holes, in order.
  MemoryLowerFile(std::vector<std::byte> bytes, std::vector<layer::Range> data)
      : bytes_(std::move(bytes)), data_(std::move(data)) {}

  std::uint64_t size_bytes() const override { return bytes_.size(); }
  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
    std::memcpy(out.data(), bytes_.data() + offset, count);
    return count;
  }
  Result<std::optional<layer::Range>> next_data(std::uint64_t offset) const override {
    for (const layer::Range& range : data_) {
      const std::uint64_t end = range.offset_bytes + range.size_bytes;
      const std::uint64_t start = std::max(offset, range.offset_bytes);
      if (start < end) return std::optional(layer::Range{start, end - start});
    }
    return std::optional<layer::Range>();
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<layer::Range> data_;
};

// The file that holds `text`, of which the blocks of zeros are holes.
inline MemoryLowerFile sparse_lower_file(std::string_view text) {
  constexpr std::size_t kBlock = 4096;
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<layer::Range> data;
  for (std::size_t start = 0; start < text.size(); start += kBlock) {
    const std::string_view block = text.substr(start, kBlock);
    if (block.find_first_not_of('\0') != std::string_view::npos) data.push_back({start, block.size()});
  }
  return MemoryLowerFile({bytes.begin(), bytes.end()}, std::move(data));
}

// Bytes of which none is 0, telling their place.
inline std::vector<std::byte> base_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(1 + (i * 7 + i / 4096) % 199);
  return bytes;
}

}  // namespace varve::testing
