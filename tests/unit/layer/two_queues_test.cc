#include "fs/layer/two_queues.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace varve::layer {
namespace {

// Room for ten blocks of 100 bytes: two and a half of it for probation, keys of five.
class Queues : public testing::Test {
 protected:
  void insert(std::uint64_t frame, std::size_t size_bytes = 100) {
    std::vector<BlockPtr> gone;
    queues.insert({1, frame}, std::make_shared<Block>(size_bytes), gone);
    evicted += gone.size();
  }
  // As a cache does: take it, or load it.
  void ask(std::uint64_t frame) {
    if (queues.find({1, frame}) == nullptr) insert(frame);
  }
  void scan(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) ask(first + i);
  }
  bool holds(std::uint64_t frame) { return queues.find({1, frame}) != nullptr; }

  TwoQueues queues{1000};
  std::size_t evicted = 0;
};

TEST_F(Queues, UseAllTheRoomBeforeAnythingGoes) {
  scan(1, 10);
  EXPECT_EQ(evicted, 0U);
  EXPECT_EQ(queues.bytes(), 1000U);
}

TEST_F(Queues, LetBlocksSeenOnceGoInTheOrderTheyCame) {
  scan(1, 10);
  ask(1);  // so soon again does not count
  insert(11);
  EXPECT_FALSE(holds(1));
  EXPECT_TRUE(holds(2));
}

TEST_F(Queues, ProtectABlockThatIsLoadedAgainSoonAfterItFellOut) {
  scan(1, 11);  // 1 fell out
  ask(1);
  scan(100, 100);  // ten times the limit
  EXPECT_TRUE(holds(1));
  EXPECT_FALSE(holds(199 - 10));
}

TEST_F(Queues, ForgetABlockThatFellOutLongAgo) {
  scan(1, 11);
  scan(20, 6);  // six more fall out; keys of five are kept
  ask(1);
  scan(100, 10);
  EXPECT_FALSE(holds(1));
}

TEST_F(Queues, LetTheProtectedBlockGoThatWasUsedLongestAgo) {
  std::uint64_t other = 1000;
  const auto protect = [&](std::uint64_t frame) {
    ask(frame);
    while (holds(frame)) insert(other++);
    ask(frame);
  };
  for (std::uint64_t frame = 1; frame <= 6; ++frame) protect(frame);
  ASSERT_TRUE(holds(1));  // now the one used last
  for (std::uint64_t frame = 7; frame <= 9; ++frame) protect(frame);
  EXPECT_TRUE(holds(1));
  EXPECT_FALSE(holds(2));
}

TEST_F(Queues, StayWithinTheBoundWhateverTheSizes) {
  std::size_t inserted = 0;
  for (std::uint64_t frame = 0; frame < 2000; ++frame) {
    const std::size_t size = frame * 37 % 400 + 1;
    if (holds(frame % 300)) continue;
    insert(frame % 300, size);
    ++inserted;
    ASSERT_LE(queues.bytes(), 1000U);
  }
  EXPECT_GT(inserted, 300U);
  EXPECT_GT(evicted, 100U);
}

TEST_F(Queues, LeaveOutABlockLargerThanTheLimit) {
  scan(1, 3);
  insert(9, 1001);
  EXPECT_FALSE(holds(9));
  EXPECT_EQ(evicted, 0U);
  EXPECT_EQ(queues.bytes(), 300U);
}

}  // namespace
}  // namespace varve::layer
