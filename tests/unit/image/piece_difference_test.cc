// Which ranges of two files lie at the same place.

#include "imagetool/image/piece_difference.h"

#include <gmock/gmock.h>

namespace varve::image {
namespace {

using layer::Piece;
using ::testing::ElementsAre;
using Bounds = std::pair<std::uint64_t, std::uint64_t>;

constexpr std::uint64_t kBlock = 4096;

Piece piece(std::uint64_t offset, std::uint64_t size, std::uint64_t frame, std::uint64_t start,
            std::uint64_t run = 0) {
  return {.file_offset = offset,
          .size_bytes = size,
          .layer = nullptr,
          .owner = {},
          .frame = frame,
          .start_bytes = start,
          .run_frame_bytes = run};
}

std::vector<Bounds> changed(const std::vector<Piece>& pieces, std::uint64_t size,
                            const std::vector<Piece>& below) {
  std::vector<Bounds> bounds;
  for (const layer::Range& range : changed_ranges(pieces, size, below)) {
    bounds.emplace_back(range.offset_bytes, range.size_bytes);
  }
  return bounds;
}

TEST(ChangedRanges, AreNoneOfTheSamePlaces) {
  const std::vector<Piece> run = {piece(0, 10 * kBlock, 7, 0, 4 * kBlock)};
  EXPECT_THAT(changed(run, 10 * kBlock, run), ElementsAre());
  // Parts of a run, as a file that lies over it has them.
  const std::vector<Piece> parts = {piece(0, kBlock, 7, 0, 4 * kBlock),
                                    piece(kBlock, 9 * kBlock, 7, kBlock, 4 * kBlock)};
  EXPECT_THAT(changed(parts, 10 * kBlock, run), ElementsAre());
  EXPECT_THAT(changed({}, 1ULL << 62, {}), ElementsAre());
}

TEST(ChangedRanges, AreOtherPlacesHolesAndWhatIsBehindTheOtherFile) {
  const std::vector<Piece> below = {piece(0, 4 * kBlock, 1, 0)};
  const std::vector<Piece> pieces = {piece(0, kBlock, 1, 0), piece(kBlock, kBlock, 9, 0),
                                     piece(3 * kBlock, kBlock, 1, 3 * kBlock),
                                     piece(5 * kBlock, 100, 9, kBlock)};
  EXPECT_THAT(changed(pieces, 5 * kBlock + 100, below),
              ElementsAre(Bounds(kBlock, 2 * kBlock), Bounds(5 * kBlock, 100)));
  // The same frame at another offset.
  EXPECT_THAT(changed({piece(0, kBlock, 1, kBlock)}, kBlock, below), ElementsAre(Bounds(0, kBlock)));
}

TEST(ChangedRanges, AreOfWholeBlocksWhereAFileWasCut) {
  const std::vector<Piece> below = {piece(0, 4 * kBlock, 1, 0)};
  EXPECT_THAT(changed({piece(0, kBlock + 77, 1, 0)}, 3 * kBlock + 5, below),
              ElementsAre(Bounds(kBlock, 2 * kBlock + 5)));
}

TEST(DataBlocks, AreCountedOnce) {
  EXPECT_EQ(data_blocks_of({}), 0U);
  EXPECT_EQ(data_blocks_of(std::vector<Piece>{piece(0, 100, 1, 0)}), 1U);
  // Two pieces in one block, then a hole, then one more.
  EXPECT_EQ(data_blocks_of(std::vector<Piece>{piece(0, 100, 1, 0), piece(100, 2 * kBlock - 100, 2, 0),
                                              piece(9 * kBlock, 1, 3, 0)}),
            3U);
}

}  // namespace
}  // namespace varve::image
