#include "imagetool/image/writer/layer_piece_index.h"

#include <gtest/gtest.h>

#include "fs/format/layer_layout.h"

namespace varve::image {
namespace {

StoredPlace place(std::uint64_t number) {
  return StoredPlace{.number = number,
                     .offset = static_cast<std::uint32_t>(number % format::kMaxFrameBytes),
                     .packed = number % 3 == 0};
}

TEST(LayerPieceIndex, FindsEachOfMany) {
  LayerPieceIndex index;
  // Multiples of a power of two all want the same slots.
  for (std::uint64_t i = 0; i < 5000; ++i) index.add(i << 32, place(i));
  for (std::uint64_t i = 0; i < 50'000; ++i) index.add(i * 0x9e3779b97f4a7c15 | 1, place(i));
  for (std::uint64_t i = 0; i < 5000; ++i) ASSERT_EQ(index.find(i << 32), place(i)) << i;
  for (std::uint64_t i = 0; i < 50'000; i += 2)
    ASSERT_EQ(index.find(i * 0x9e3779b97f4a7c15 | 1), place(i)) << i;
  EXPECT_EQ(index.find(12345), std::nullopt);
}

TEST(LayerPieceIndex, KeepsTheFirstPlace) {
  LayerPieceIndex index;
  index.add(7, place(1));
  index.add(7, place(2));
  EXPECT_EQ(index.find(7), place(1));
}

TEST(LayerPieceIndex, HoldsTheLargestPlace) {
  LayerPieceIndex index;
  const StoredPlace largest{.number = (1ULL << 39) - 1, .offset = format::kMaxFrameBytes - 1, .packed = true};
  index.add(~0ULL, largest);
  EXPECT_EQ(index.find(~0ULL), largest);
}

}  // namespace
}  // namespace varve::image
