#include "fs/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace varve {
namespace {

TEST(SmallMutex, IsSmall) {
  EXPECT_EQ(sizeof(SmallMutex), 4U);
}

TEST(SmallMutex, LetsOneThreadInAtATime) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 50'000;
  SmallMutex mutex;
  long count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const MutexLock lock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, static_cast<long>(kThreads) * kRounds);
}

// All of them sleep, and each that is woken has to wake the next one.
TEST(SmallMutex, WakesEveryoneWhoWaits) {
  constexpr int kThreads = 8;
  SmallMutex mutex;
  std::atomic<int> started{0};
  int count = 0;
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex);
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        ++started;
        const MutexLock own(mutex);
        ++count;
      });
    }
    while (started != kThreads) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(count, 0);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads);
}

}  // namespace
}  // namespace varve
