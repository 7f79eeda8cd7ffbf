#include "launcher/cgroup/limit_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::launcher {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::uint64_t size(const char* text) {
  const auto read = parse_size("--memory", text);
  EXPECT_TRUE(read.ok()) << text;
  return read.ok() ? *read : 0;
}

TEST(LimitSize, UnitsArePowersOf1024) {
  EXPECT_EQ(size("4096"), 4096U);
  EXPECT_EQ(size("7b"), 7U);
  EXPECT_EQ(size("3k"), 3U << 10);
  EXPECT_EQ(size("50m"), 50U << 20);
  EXPECT_EQ(size("2G"), std::uint64_t{2} << 30);
  EXPECT_EQ(size("1t"), std::uint64_t{1} << 40);
  EXPECT_EQ(size("64KiB"), 64U << 10);
  EXPECT_EQ(size("64kb"), 64U << 10);
}

TEST(LimitSize, FractionsAreOfTheUnit) {
  EXPECT_EQ(size("1.5k"), 1536U);
  EXPECT_EQ(size("0.5g"), 512U << 20);
}

TEST(LimitSize, WhatIsNoneIsRefusedWithTheOption) {
  for (const char* text : {"", "m", "-1", "1x", "1mm", "1ib", "1bb", "1e3", "0x10", "nan", "1.2.3m",
                           "9999999p", "18446744073709551616", "9223372036854775808"}) {
    const auto read = parse_size("--memory", text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_THAT(read.error().message, AllOf(HasSubstr("--memory"), HasSubstr(text)));
  }
}

TEST(LimitSize, TheGreatestIsThatOfTheKernel) {
  EXPECT_EQ(size("9223372036854775807"), 9223372036854775807U);
}

TEST(LimitCpus, AreTimeInEachPeriod) {
  EXPECT_EQ(*parse_cpus("--cpus", "0.2"), 20'000U);
  EXPECT_EQ(*parse_cpus("--cpus", "2"), 200'000U);
  EXPECT_EQ(*parse_cpus("--cpus", ".5"), 50'000U);
  EXPECT_EQ(*parse_cpus("--cpus", "0"), 0U);
}

TEST(LimitCpus, BelowTheKernelsLeastAreRefused) {
  for (const char* text : {"0.001", "-1", "", ".", "1,5", "inf", "1e1", "2000000"}) {
    EXPECT_FALSE(parse_cpus("--cpus", text).ok()) << text;
  }
}

TEST(LimitNumber, RangeIsKept) {
  EXPECT_EQ(*parse_number("--pids-limit", "-1", {-1, 10}), -1);
  EXPECT_EQ(*parse_number("--pids-limit", "10", {-1, 10}), 10);
  for (const char* text : {"11", "-2", "", "1 ", "ten", "1.0", "99999999999999999999"}) {
    EXPECT_FALSE(parse_number("--pids-limit", text, {-1, 10}).ok()) << text;
  }
}

TEST(LimitCpuList, NumbersAndRangesAreTaken) {
  for (const char* text : {"0", "0-3", "0-3,5", "1,2,3"}) {
    const auto list = parse_cpu_list("--cpuset-cpus", text);
    ASSERT_TRUE(list.ok()) << text;
    EXPECT_EQ(*list, text);
  }
}

TEST(LimitCpuList, OtherTextIsRefused) {
  for (const char* text : {"", ",", "0,", "3-1", "-1", "0-", "a", "0 1", "0-3\n"}) {
    EXPECT_FALSE(parse_cpu_list("--cpuset-cpus", text).ok()) << text;
  }
}

TEST(LimitRate, PathMayHoldColons) {
  const auto rate = split_device_rate("--device-read-bps", "/dev/disk/by-path/pci-0:1:2m");
  ASSERT_TRUE(rate.ok());
  EXPECT_EQ(rate->path, "/dev/disk/by-path/pci-0:1");
  EXPECT_EQ(rate->rate, "2m");
  for (const char* text : {"", "/dev/sda", "/dev/sda:", ":1m"}) {
    EXPECT_FALSE(split_device_rate("--device-read-bps", text).ok()) << text;
  }
}

TEST(LimitSize, TextIsInTheGreatestWholeUnit) {
  EXPECT_EQ(size_text(52428800), "50 MiB");
  EXPECT_EQ(size_text(1000), "1000 bytes");
  EXPECT_EQ(size_text(1536), "1536 bytes");
  EXPECT_EQ(size_text(std::uint64_t{3} << 30), "3 GiB");
}

}  // namespace
}  // namespace varve::launcher
