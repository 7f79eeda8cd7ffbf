#include "fs/base/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

namespace varve {
namespace {

constexpr std::size_t kKiB = 1024;

void fill(Buffer& buffer, unsigned value) {
  std::ranges::fill(buffer.bytes(), static_cast<std::byte>(value));
}
bool holds(const Buffer& buffer, unsigned value) {
  return std::ranges::all_of(buffer.bytes(), [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

TEST(Buffer, IsEmptyByDefault) {
  const Buffer buffer;
  EXPECT_EQ(buffer.size(), 0u);
  EXPECT_TRUE(buffer.bytes().empty());
}

TEST(Buffer, HasTheSizeThatWasAskedFor) {
  for (const std::size_t size : {std::size_t{1}, 16 * kKiB - 1, 16 * kKiB, 16 * kKiB + 1, 5000 * kKiB}) {
    EXPECT_EQ(Buffer(size).bytes().size(), size);
  }
}

TEST(Buffer, MovesWithItsContent) {
  Buffer first(20 * kKiB);
  fill(first, 7);
  const std::byte* const data = first.bytes().data();
  Buffer second(std::move(first));
  EXPECT_EQ(second.bytes().data(), data);
  Buffer third;
  third = std::move(second);
  EXPECT_TRUE(holds(third, 7));
}

// More than one large page holds, of sizes that leave gaps in it, made and destroyed in another order.
TEST(Buffer, KeepsItsContentFromAllOthers) {
  std::vector<Buffer> buffers;
  std::vector<unsigned> values;
  for (unsigned i = 0; i < 600; ++i) {
    const std::size_t size = (1 + i * 37 % 90) * kKiB;
    if (i >= 80) {
      const std::size_t place = i * 13 % buffers.size();
      ASSERT_TRUE(holds(buffers[place], values[place])) << "buffer " << i;
      buffers[place] = Buffer(size);
      values[place] = i % 251;
      fill(buffers[place], values[place]);
      continue;
    }
    buffers.emplace_back(size);
    values.push_back(i % 251);
    fill(buffers.back(), values.back());
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) EXPECT_TRUE(holds(buffers[i], values[i])) << i;
}

TEST(Buffer, IsMadeAndDestroyedByManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      for (unsigned i = 0; i < 2000; ++i) {
        Buffer one(64 * kKiB);
        Buffer other((16 + i % 200) * kKiB);
        one.bytes().front() = one.bytes().back() = static_cast<std::byte>(t);
        other.bytes().front() = other.bytes().back() = static_cast<std::byte>(t + 100);
        if (one.bytes().front() != static_cast<std::byte>(t) ||
            one.bytes().back() != static_cast<std::byte>(t))
          ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace varve
