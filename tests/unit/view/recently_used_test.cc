#include "fs/view/recently_used.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>

#include "tests/support/failing_memory.h"

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

TEST(RecentlyUsed, ReplacesAndDropsWithTheirWeight) {
  Numbers numbers(10, 1);
  keep(numbers, 1, 10, 4);
  keep(numbers, 2, 20, 4);
  EXPECT_EQ(*numbers.replace(NodeId(1), std::make_shared<const int>(11), 6), 11);
  EXPECT_EQ(*numbers.find(NodeId(1)), 11);
  EXPECT_NE(numbers.find(NodeId(2)), nullptr) << "10 of 10";
  numbers.drop(NodeId(1));
  numbers.drop(NodeId(1));
  EXPECT_EQ(numbers.find(NodeId(1)), nullptr);
  keep(numbers, 3, 30, 6);
  EXPECT_EQ(numbers.size(), 2U) << "what was dropped weighs nothing";
  EXPECT_EQ(*numbers.replace(NodeId(4), std::make_shared<const int>(40), 1), 40);
  EXPECT_EQ(numbers.size(), 2U) << "11 of 10";
}

TEST(RecentlyUsed, StaysSoundWhereverMemoryRunsOut) {
  Numbers numbers(4, 1);
  for (std::uint64_t id = 1; id <= 40; ++id) {
    const auto value = std::make_shared<const int>(static_cast<int>(id));
    std::uint64_t allowed = 0;
    for (Numbers::Pointer kept; kept == nullptr; ++allowed) {
      try {
        const test::FailingMemory failing(allowed);
        kept = numbers.keep(NodeId(id), value, 1);
      } catch (const std::bad_alloc&) {
        EXPECT_EQ(numbers.find(NodeId(id)), nullptr);
      }
    }
    EXPECT_GT(allowed, 1U);
    EXPECT_EQ(numbers.find(NodeId(id)), value);
    EXPECT_EQ(numbers.size(), std::min<std::size_t>(id, 4));
  }
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
