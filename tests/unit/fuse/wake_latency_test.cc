#include "fs/fuse/wake_latency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace varve::fuse {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Ticks of one client after another.
class Client {
 public:
  // The number of requests so far, `more` of them in this tick.
  std::uint64_t after(std::uint64_t more) { return received_ += more; }

 private:
  std::uint64_t received_ = 0;
};

class BurstTest : public testing::Test {
 protected:
  bool tick(std::uint64_t requests) { return burst_.tick(client_.after(requests)); }

  Burst burst_;
  Client client_;
};

TEST_F(BurstTest, BeginsWithTheFirstTickOfManyRequests) {
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(tick(Burst::kBegins - 1));
  EXPECT_TRUE(tick(Burst::kBegins));
}

TEST_F(BurstTest, IsOverAfterAFewCalmTicks) {
  tick(1000);
  for (int i = 1; i < Burst::kCalmTicks; ++i) EXPECT_TRUE(tick(0));
  EXPECT_FALSE(tick(0));
  EXPECT_FALSE(tick(0));
}

TEST_F(BurstTest, IsOverWhereATrickleRemains) {
  tick(1000);
  for (int i = 1; i < Burst::kCalmTicks; ++i) EXPECT_TRUE(tick(Burst::kGoesOn - 1));
  EXPECT_FALSE(tick(Burst::kGoesOn - 1));
}

TEST_F(BurstTest, GoesOnWithHalfOfWhatBeginsOne) {
  tick(Burst::kBegins);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(tick(Burst::kGoesOn));
}

TEST_F(BurstTest, GoesOnOverPauses) {
  tick(Burst::kBegins);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(tick(i % Burst::kCalmTicks == 0 ? Burst::kGoesOn : 0));
}

TEST_F(BurstTest, BeginsAnewOnlyWithManyRequests) {
  tick(1000);
  while (tick(0)) {
  }
  EXPECT_FALSE(tick(Burst::kGoesOn));
  EXPECT_TRUE(tick(Burst::kBegins));
}

// A file in memory, by a path that opens it anew.
class File {
 public:
  explicit File(std::string_view content = {}) {
    EXPECT_EQ(::write(fd_.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  }
  const char* path() const { return path_.c_str(); }
  // All numbers that were written to it.
  std::vector<std::int32_t> numbers() const {
    std::vector<std::int32_t> all(16);
    const ssize_t size = ::pread(fd_.get(), all.data(), all.size() * sizeof(std::int32_t), 0);
    EXPECT_EQ(size % static_cast<ssize_t>(sizeof(std::int32_t)), 0);
    all.resize(size < 0 ? 0 : static_cast<std::size_t>(size) / sizeof(std::int32_t));
    return all;
  }

 private:
  const UniqueFd fd_{::memfd_create("file", MFD_CLOEXEC)};
  const std::string path_ = "/proc/self/fd/" + std::to_string(fd_.get());
};

class WakeLatencyTest : public testing::Test {
 protected:
  WakeLatency::Options options(const char* device) const {
    return {.limit_us = 1234, .device = device, .driver = driver_.path()};
  }
  // Returns: whether more ticks are wanted.
  bool tick(WakeLatency& latency, std::uint64_t requests) { return latency.tick(client_.after(requests)); }
  // Until no more are.
  void be_calm(WakeLatency& latency) {
    int ticks = 0;
    while (tick(latency, 0)) ASSERT_LT(++ticks, 100);
  }

  Client client_;
  const File driver_{"haltpoll\n"};
  const File device_;
};

TEST_F(WakeLatencyTest, AsksOnceForEachBurstAndLetsGoOnceAfterIt) {
  WakeLatency latency(options(device_.path()));
  for (int i = 0; i < 10; ++i) tick(latency, 1);
  EXPECT_THAT(device_.numbers(), ElementsAre());
  for (int burst = 0; burst < 2; ++burst) {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(tick(latency, 1000));
    EXPECT_TRUE(latency.status().held);
    be_calm(latency);
    EXPECT_FALSE(latency.status().held);
  }
  EXPECT_THAT(device_.numbers(), ElementsAre(1234, WakeLatency::kAny, 1234, WakeLatency::kAny));
  EXPECT_EQ(latency.status().asked_us, 1234U);
  EXPECT_EQ(latency.status().taken, 2U);
  EXPECT_EQ(latency.status().why_not, "");
}

TEST_F(WakeLatencyTest, LetsGoWhenItIsTold) {
  WakeLatency latency(options(device_.path()));
  latency.let_go();
  EXPECT_THAT(device_.numbers(), ElementsAre());
  tick(latency, 1000);
  latency.let_go();
  latency.let_go();
  EXPECT_THAT(device_.numbers(), ElementsAre(1234, WakeLatency::kAny));
}

TEST_F(WakeLatencyTest, WithoutADeviceAsksNothingAndSaysWhy) {
  WakeLatency latency(options("/dev/full/none"));
  EXPECT_FALSE(tick(latency, 1000));
  EXPECT_FALSE(latency.status().held);
  EXPECT_EQ(latency.status().taken, 0U);
  EXPECT_EQ(latency.status().why_not, "/dev/full/none: Not a directory");
}

TEST_F(WakeLatencyTest, IsNotHeldWhereTheDeviceRefusesIt) {
  WakeLatency latency(options("/dev/full"));
  EXPECT_EQ(latency.status().why_not, "");
  EXPECT_FALSE(tick(latency, 1000));
  EXPECT_FALSE(tick(latency, 1000));
  EXPECT_FALSE(latency.status().held);
  EXPECT_EQ(latency.status().taken, 0U);
  EXPECT_EQ(latency.status().why_not, "/dev/full: No space left on device");
}

TEST_F(WakeLatencyTest, WithoutADriverAsksNothingAndSaysWhy) {
  const File none("none\n");
  WakeLatency latency({.limit_us = 1234, .device = device_.path(), .driver = none.path()});
  EXPECT_FALSE(tick(latency, 1000));
  EXPECT_THAT(device_.numbers(), ElementsAre());
  EXPECT_THAT(latency.status().why_not, HasSubstr("no driver"));
}

TEST_F(WakeLatencyTest, AsksWhereTheDriverIsNotKnown) {
  WakeLatency latency({.limit_us = 0, .device = device_.path(), .driver = "/proc/none"});
  EXPECT_TRUE(tick(latency, 1000));
  EXPECT_THAT(device_.numbers(), ElementsAre(0));
}

}  // namespace
}  // namespace varve::fuse
