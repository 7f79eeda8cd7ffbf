// FdBlockFile over a real file.

#include "fs/block/fd_block_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

namespace varve::block {
namespace {

using Bytes = std::vector<std::byte>;

class FdBlockFileTest : public ::testing::Test {
 protected:
  static UniqueFd temporary_file() {
    const char* directory = std::getenv("TMPDIR");
    std::string path = std::string(directory != nullptr ? directory : "/tmp") + "/varve-block-XXXXXX";
    UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
    EXPECT_TRUE(fd.valid());
    ::unlink(path.c_str());
    return fd;
  }
  FdBlockFile file_{temporary_file()};
};

TEST_F(FdBlockFileTest, ReadsWhatWasWritten) {
  ASSERT_TRUE(file_.write_at(100, Bytes(50, std::byte{7})).ok());
  EXPECT_EQ(*file_.size_bytes(), 150u);
  Bytes read(100, std::byte{1});
  EXPECT_EQ(*file_.read_at(90, read), 60u);
  EXPECT_EQ(read[9], std::byte{0});
  EXPECT_EQ(read[10], std::byte{7});
  EXPECT_EQ(*file_.read_at(150, read), 0u);
}

TEST_F(FdBlockFileTest, RefusesOffsetsPastTheLargestFile) {
  constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max() - 2;
  Bytes bytes(10);
  EXPECT_EQ(*file_.read_at(kHuge, bytes), 0u);
  EXPECT_EQ(error_number(file_.write_at(kHuge, bytes)), EFBIG);
  EXPECT_EQ(error_number(file_.truncate(kHuge)), EFBIG);
  EXPECT_EQ(error_number(file_.allocate(0, kHuge, 1)), EFBIG);
  EXPECT_FALSE(file_.seek_data(kHuge)->has_value());
}

TEST_F(FdBlockFileTest, TellsDataFromHoles) {
  ASSERT_TRUE(file_.truncate(std::uint64_t{1} << 20).ok());
  ASSERT_TRUE(file_.write_at(65536, Bytes(4096, std::byte{1})).ok());
  EXPECT_EQ(**file_.seek_data(0), 65536u);
  EXPECT_EQ(**file_.seek_hole(65536), 69632u);
  EXPECT_FALSE(file_.seek_data(69632)->has_value());
  EXPECT_FALSE(file_.seek_hole(std::uint64_t{1} << 20)->has_value());
}

TEST_F(FdBlockFileTest, PunchesAndSyncs) {
  ASSERT_TRUE(file_.write_at(0, Bytes(8192, std::byte{1})).ok());
  ASSERT_TRUE(file_.sync(true).ok());
  const std::uint64_t before = *file_.blocks_512();
  ASSERT_TRUE(file_.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096).ok());
  ASSERT_TRUE(file_.sync(false).ok());
  EXPECT_EQ(*file_.blocks_512(), before - 8);
  Bytes read(1, std::byte{9});
  EXPECT_EQ(*file_.read_at(10, read), 1u);
  EXPECT_EQ(read[0], std::byte{0});
}

TEST(FdBlockFile, PassesTheErrorOn) {
  FdBlockFile file{UniqueFd(::open("/dev/full", O_RDWR | O_CLOEXEC))};
  EXPECT_EQ(error_number(file.write_at(0, Bytes(10))), ENOSPC);
  FdBlockFile closed{UniqueFd()};
  EXPECT_EQ(closed.size_bytes().error().value, EBADF);
}

}  // namespace
}  // namespace varve::block
