#pragma once

// Block: the content of one frame. Immutable once it is shared, so any thread may read it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fs/base/buffer.h"

namespace varve::layer {

class Block {
 public:
  explicit Block(std::size_t size_bytes) : bytes_(size_bytes) {}
  std::span<std::byte> writable() { return bytes_.bytes(); }
  std::span<const std::byte> bytes() const { return bytes_.bytes(); }

 private:
  Buffer bytes_;
};
using BlockPtr = std::shared_ptr<const Block>;

// Which frame of which open layer.
struct BlockKey {
  std::uint64_t layer = 0;  // from BlockCache::add_layer()
  std::uint64_t frame = 0;
  friend bool operator==(const BlockKey&, const BlockKey&) = default;
};

struct BlockKeyHash {
  std::size_t operator()(const BlockKey& key) const noexcept {
    std::uint64_t x = key.frame * 0x9E3779B97F4A7C15ULL ^ key.layer * 0xC2B2AE3D27D4EB4FULL;
    x ^= x >> 32;
    return static_cast<std::size_t>(x * 0xD6E8FEB86659FD93ULL >> 7);
  }
};

}  // namespace varve::layer
