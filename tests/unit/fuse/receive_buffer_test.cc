// Requests are received where their payload begins a page, and failures of the device are told apart.

#include "fs/fuse/receive_buffer.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

constexpr std::size_t kPayloadBytes = 1U << 20;
constexpr std::size_t kWriteHeaderBytes = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);

DeviceRead failing(int error) {
  return [error](int, void*, std::size_t) {
    errno = error;
    return -1;
  };
}

TEST(ReceiveBuffer, WhatAWriteBringsBeginsAPageAndAllOfItFits) {
  ReceiveBuffer buffer(kPayloadBytes);
  for (int round = 0; round < 2; ++round) {
    const int size = buffer.receive(7, [&](int device, void* memory, std::size_t size_bytes) {
      EXPECT_EQ(device, 7);
      EXPECT_EQ((reinterpret_cast<std::uintptr_t>(memory) + kWriteHeaderBytes) % 4096, 0U);
      EXPECT_EQ(size_bytes, kWriteHeaderBytes + kPayloadBytes);
      std::memset(memory, 'a' + round, size_bytes);
      return static_cast<ssize_t>(size_bytes);
    });
    ASSERT_EQ(size, static_cast<int>(kWriteHeaderBytes + kPayloadBytes));
    ASSERT_EQ(buffer.request().size, kWriteHeaderBytes + kPayloadBytes);
    const char* const content = static_cast<const char*>(buffer.request().mem);
    EXPECT_EQ(content[0], 'a' + round);
    EXPECT_EQ(content[kWriteHeaderBytes + kPayloadBytes - 1], 'a' + round);
    EXPECT_EQ(buffer.request().flags, 0);
  }
}

TEST(ReceiveBuffer, TellsWhyThereIsNoRequest) {
  ReceiveBuffer buffer(kPayloadBytes);
  EXPECT_EQ(buffer.receive(0, failing(ENODEV)), -ENODEV);
  EXPECT_EQ(buffer.receive(0, failing(EAGAIN)), -EAGAIN);
  EXPECT_EQ(buffer.receive(0, failing(ENOENT)), -EINTR) << "who asked was interrupted";
  EXPECT_EQ(buffer.request().size, 0U);
  const auto too_short = [](int, void*, std::size_t) { return ssize_t{sizeof(struct fuse_in_header) - 1}; };
  EXPECT_EQ(buffer.receive(0, too_short), -EIO);
  EXPECT_EQ(buffer.request().size, 0U);
}

TEST(ReceiveBuffer, HasNoMemoryOnlyWhenItIsAskedForMoreThanThereIs) {
  bool asked = false;
  const auto read = [&](int, void*, std::size_t) {
    asked = true;
    return ssize_t{0};
  };
  EXPECT_EQ(ReceiveBuffer(std::size_t{1} << 62).receive(0, read), -ENOMEM);
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace varve::fuse
