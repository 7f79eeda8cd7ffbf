#pragma once

// StrongId: an integer that cannot be mixed up with another kind of integer.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace varve {

template <class Tag, class Rep>
class StrongId {
 public:
  using rep = Rep;
  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

 private:
  Rep value_ = 0;
};

// Position of a layer in a stack counted from the bottom, which is 1; 0 means the upper. Counting from the bottom
// keeps inode numbers when a layer is added on top.
using LayerSlot = StrongId<struct LayerSlotTag, std::uint16_t>;

// An object within one layer. In a layer file it is the index of its inode record; in a plain directory a number
// that the open layer hands out. Meaningless outside the layer.
using LowerId = StrongId<struct LowerIdTag, std::uint64_t>;

// Index of a 4 KiB copy-on-write block within a file.
using BlockIndex = StrongId<struct BlockIndexTag, std::uint64_t>;

// What the kernel calls a file of the mount by (FUSE nodeid). 1 is the root.
using NodeId = StrongId<struct NodeIdTag, std::uint64_t>;

}  // namespace varve

template <class Tag, class Rep>
struct std::hash<varve::StrongId<Tag, Rep>> {
  std::size_t operator()(varve::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
