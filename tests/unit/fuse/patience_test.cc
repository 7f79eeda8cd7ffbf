#include "fs/fuse/patience.h"

#include <gtest/gtest.h>

namespace varve::fuse {
namespace {

using std::chrono::microseconds;

constexpr microseconds kSoon{20};
constexpr microseconds kLate{5000};

// A client that is busy: as many requests as needed follow each other closely.
void be_busy(Patience& patience) {
  patience.slept(kSoon);
  patience.came();
}

TEST(PatienceTest, SleepsUntilRequestsFollowEachOtherClosely) {
  Patience patience;
  EXPECT_FALSE(patience.pays());
  for (int i = 0; i < 100; ++i) patience.slept(kLate);
  EXPECT_FALSE(patience.pays());
  patience.slept(kSoon);
  EXPECT_TRUE(patience.pays());
}

TEST(PatienceTest, ForgivesOneVainWatchAndGivesUpAtTheSecond) {
  Patience patience;
  be_busy(patience);
  patience.nothing_came();
  EXPECT_TRUE(patience.pays());
  patience.nothing_came();
  EXPECT_FALSE(patience.pays());
  patience.slept(kLate);
  EXPECT_FALSE(patience.pays());
}

TEST(PatienceTest, LeavesACrowdedProcessorAloneForAWhile) {
  Patience patience;
  be_busy(patience);
  patience.crowded();
  int requests = 0;
  for (; !patience.pays(); ++requests) {
    ASSERT_LT(requests, 1000);
    patience.slept(kSoon);
  }
  EXPECT_GT(requests, 50);
}

TEST(PatienceTest, ComesBackAfterACrowdOnlyWhenRequestsAreClose) {
  Patience patience;
  patience.crowded();
  for (int i = 0; i < 1000; ++i) patience.slept(kLate);
  EXPECT_FALSE(patience.pays());
  patience.slept(kSoon);
  EXPECT_TRUE(patience.pays());
}

}  // namespace
}  // namespace varve::fuse
