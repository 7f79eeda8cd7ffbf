#include "fs/view/recently_used.h"

#include <gtest/gtest.h>

namespace varve::view {
namespace {

using Numbers = RecentlyUsed<int>;

Numbers::Pointer keep(Numbers& numbers, std::uint64_t id, int value, std::size_t weight = 1) {
  return numbers.keep(NodeId(id), std::make_shared<const int>(value), weight);
}

TEST(RecentlyUsed, LetsGoOfWhatWasUsedLongestAgo) {
  Numbers numbers(3, 1);
  for (int i = 1; i <= 3; ++i) keep(numbers, static_cast<std::uint64_t>(i), i);
  ASSERT_NE(numbers.find(NodeId(1)), nullptr);
  keep(numbers, 4, 4);
  EXPECT_EQ(numbers.size(), 3U);
  EXPECT_NE(numbers.find(NodeId(1)), nullptr);
  EXPECT_EQ(numbers.find(NodeId(2)), nullptr);
}

TEST(RecentlyUsed, KeepsTheFewUsedLastHoweverHeavyTheyAre) {
  Numbers numbers(10, 2);
  for (int i = 1; i <= 3; ++i) keep(numbers, static_cast<std::uint64_t>(i), i, 100);
  EXPECT_EQ(numbers.size(), 2U);
  EXPECT_NE(numbers.find(NodeId(2)), nullptr);
  EXPECT_NE(numbers.find(NodeId(3)), nullptr);
}

TEST(RecentlyUsed, HandsOutWhatAnotherKeptFirst) {
  Numbers numbers(3, 1);
  EXPECT_EQ(*keep(numbers, 1, 10), 10);
  EXPECT_EQ(*keep(numbers, 1, 20), 10);
  EXPECT_EQ(numbers.size(), 1U);
}

TEST(RecentlyUsed, LeavesWhatItLetsGoToThoseWhoUseIt) {
  Numbers numbers(1, 1);
  const Numbers::Pointer used = keep(numbers, 1, 10);
  keep(numbers, 2, 20);
  EXPECT_EQ(numbers.find(NodeId(1)), nullptr);
  EXPECT_EQ(*used, 10);
}

}  // namespace
}  // namespace varve::view
