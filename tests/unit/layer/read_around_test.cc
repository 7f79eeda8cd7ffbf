#include "fs/layer/read_around.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "fs/base/unique_fd.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

constexpr std::uint64_t kWindow = ReadAround::kWindowBytes;
constexpr long kTmpfs = 0x01021994;  // TMPFS_MAGIC, linux/magic.h

// A file of four windows of which the page cache holds nothing.
class ReadAroundTest : public testing::Test {
 protected:
  void SetUp() override {
    test::write_file(directory_.file("layer"), std::string(4 * kWindow, 'x'));
    fd_ = UniqueFd(::open(directory_.file("layer").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd_.valid());
    struct statfs where {};
    ASSERT_EQ(::fstatfs(fd_.get(), &where), 0);
    if (where.f_type == kTmpfs) GTEST_SKIP() << "/tmp is a tmpfs: its files are never anywhere but in memory";
    ASSERT_EQ(::fsync(fd_.get()), 0);
    ASSERT_EQ(::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
    for (int window = 0; window < 4; ++window) {
      if (pages_held(window) != 0) GTEST_SKIP() << "the kernel does not let go of the pages of files in /tmp";
    }
  }

  // Of one window, in the kernel's page cache.
  std::size_t pages_held(int window) const {
    void* map =
        ::mmap(nullptr, kWindow, PROT_READ, MAP_SHARED, fd_.get(), static_cast<off_t>(window * kWindow));
    EXPECT_NE(map, MAP_FAILED);
    std::vector<unsigned char> held(kWindow / 4096);
    EXPECT_EQ(::mincore(map, kWindow, held.data()), 0);
    ::munmap(map, kWindow);
    std::size_t count = 0;
    for (const unsigned char page : held) count += page & 1U;
    return count;
  }

  bool comes(int window) const {
    for (int i = 0; i < 1000; ++i) {
      if (pages_held(window) == kWindow / 4096) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  test::TemporaryDirectory directory_;
  UniqueFd fd_;
};

TEST_F(ReadAroundTest, OneReadBringsNothing) {
  const ReadAround around(fd_.get());
  for (const std::uint64_t window : {0, 1, 2, 3}) around.about_to_read(window * kWindow + 12345);
  for (const int window : {0, 1, 2, 3}) EXPECT_EQ(pages_held(window), 0U) << window;
}

TEST_F(ReadAroundTest, TheSecondReadBringsTheWindowAndNoOther) {
  const ReadAround around(fd_.get());
  around.about_to_read(kWindow + 5);
  around.about_to_read(2 * kWindow - 1);
  EXPECT_TRUE(comes(1));
  EXPECT_EQ(pages_held(0), 0U);
  EXPECT_EQ(pages_held(3), 0U);
}

TEST_F(ReadAroundTest, AWindowThatWasDroppedComesAgain) {
  const ReadAround around(fd_.get());
  around.about_to_read(0);
  around.about_to_read(0);
  ASSERT_TRUE(comes(0));
  ASSERT_EQ(::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
  ASSERT_EQ(pages_held(0), 0U);
  for (int i = 0; i < 256; ++i) around.about_to_read(1);
  EXPECT_TRUE(comes(0));
}

TEST_F(ReadAroundTest, PlacesBeyondTheFileAreHarmless) {
  const ReadAround around(fd_.get());
  for (int i = 0; i < 3; ++i) around.about_to_read(std::uint64_t{1} << 62);
  for (int i = 0; i < 3; ++i) around.about_to_read(~std::uint64_t{0});
  for (const int window : {1, 2, 3}) EXPECT_EQ(pages_held(window), 0U) << window;
}

}  // namespace
}  // namespace varve::layer
