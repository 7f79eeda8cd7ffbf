#include "fs/fuse/helpers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace varve::fuse {
namespace {

TEST(Helpers, DoWorkOnAnotherThread) {
  Helpers helpers(2);
  std::thread::id done_by;
  ASSERT_TRUE(helpers.run([&] { done_by = std::this_thread::get_id(); }));
  EXPECT_NE(done_by, std::thread::id());
  EXPECT_NE(done_by, std::this_thread::get_id());
  helpers.stop();
}

TEST(Helpers, SayWhenNoneIsFree) {
  Helpers helpers(1);
  ASSERT_TRUE(
      helpers.run([&] { EXPECT_FALSE(helpers.run([] { ADD_FAILURE() << "there is but one thread"; })); }));
  helpers.stop();
}

TEST(Helpers, ServeManyAtOnce) {
  constexpr int kAskers = 8;
  constexpr int kTimes = 500;
  Helpers helpers(3);
  std::atomic<int> done{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < kAskers; ++i) {
    askers.emplace_back([&] {
      for (int k = 0; k < kTimes; ++k) {
        const int before = done.load();
        if (!helpers.run([&] { done.fetch_add(1); })) done.fetch_add(1);
        EXPECT_GT(done.load(), before);
      }
    });
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(done.load(), kAskers * kTimes);
  helpers.stop();
}

}  // namespace
}  // namespace varve::fuse
