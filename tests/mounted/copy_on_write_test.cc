// Block-level copy-on-write: what a change of a lower file costs in the upper (docs/semantics.md, "Data").

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;
constexpr std::int64_t kGiB = 1024 * kMiB;

class CopyOnWrite : public testing::TestWithParam<bool> {
 protected:
  MountedStack stack{StackShape{.lowers = 1, .layer_files = GetParam()}};
  std::string content = noise(8 * kMiB, 1);

  // Mounts with an 8 MiB file "f" in the lower and returns what upper and work then take.
  std::int64_t begin() {
    write_file(stack.lower(0, "f"), content);
    EXPECT_TRUE(stack.mount());
    EXPECT_EQ(stat_of(stack.at("f")).st_size, 8 * kMiB);
    return stack.writable_bytes();
  }
  std::int64_t growth(std::int64_t before) const { return stack.writable_bytes() - before; }
};
INSTANTIATE_TEST_SUITE_P(Of, CopyOnWrite, testing::Bool(), lower_kind_name);

TEST_P(CopyOnWrite, FourKibibytesIntoAGibibyteTakeAlmostNothing) {
  write_file(stack.lower(0, "big"), "begin");
  ASSERT_EQ(outcome(::truncate(stack.lower(0, "big").c_str(), kGiB)), "ok");
  write_at(stack.lower(0, "big"), kGiB - 3, "end");
  ASSERT_TRUE(stack.mount());
  std::int64_t before = stack.writable_bytes();
  auto start = std::chrono::steady_clock::now();
  write_at(stack.at("big"), kGiB / 2, std::string(4096, 'w'));
  auto took = std::chrono::steady_clock::now() - start;
  ASSERT_TRUE(stack.unmount());
  EXPECT_LE(growth(before), 16 * kKiB + 16 * kKiB)
      << "the block, and one page of block map with its bookkeeping";
  EXPECT_LE(bytes_used(stack.upper()), 16 * kKiB);
  EXPECT_LT(took, std::chrono::seconds(1));
  ASSERT_TRUE(stack.mount());
  std::string around(4098, 'w');
  around.front() = around.back() = '\0';
  EXPECT_EQ(read_at(stack.at("big"), kGiB / 2 - 1, 4098), around);
  EXPECT_EQ(read_at(stack.at("big"), 0, 5), "begin");
  EXPECT_EQ(read_at(stack.at("big"), kGiB - 3, 10), "end");
}

TEST_P(CopyOnWrite, WritesCopyOnlyTheBlocksTheyTouch) {
  std::int64_t before = begin();
  write_at(stack.at("f"), 4 * kMiB + 100, "ten bytes!");
  write_at(stack.at("f"), 6 * kMiB - 2, "span");
  content.replace(4 * kMiB + 100, 10, "ten bytes!");
  content.replace(6 * kMiB - 2, 4, "span");
  EXPECT_LE(growth(before), 48 * kKiB) << "three blocks, a map page, the inodes";
  EXPECT_TRUE(read_file(stack.at("f")) == content);
  ASSERT_TRUE(stack.remount());
  EXPECT_TRUE(read_file(stack.at("f")) == content);
  EXPECT_LE(growth(before), 48 * kKiB);
}

TEST_P(CopyOnWrite, OpeningForWritingCopiesNoData) {
  std::int64_t before = begin();
  UniqueFd fd = open_file(stack.at("f"), O_RDWR | O_APPEND);
  EXPECT_LE(growth(before), 24 * kKiB);
  EXPECT_EQ(read_at(fd.get(), 0, 100), content.substr(0, 100));
}

TEST_P(CopyOnWrite, ChangesOfMetadataCopyNoData) {
  VARVE_NEEDS(kOtherOwners);
  std::int64_t before = begin();
  std::string path = stack.at("f");
  EXPECT_EQ(outcome(::chmod(path.c_str(), 0600)), "ok");
  EXPECT_EQ(outcome(::chown(path.c_str(), 1000, 1000)), "ok");
  struct timespec times[2] = {{1, 2}, {3, 4}};
  EXPECT_EQ(outcome(::utimensat(AT_FDCWD, path.c_str(), times, 0)), "ok");
  EXPECT_EQ(outcome(::setxattr(path.c_str(), "user.x", "y", 1, 0)), "ok");
  EXPECT_EQ(outcome(::link(path.c_str(), stack.at("linked").c_str())), "ok");
  EXPECT_EQ(outcome(::rename(path.c_str(), stack.at("renamed").c_str())), "ok");
  EXPECT_LE(growth(before), 32 * kKiB);
  EXPECT_TRUE(read_file(stack.at("renamed")) == content);
  ASSERT_TRUE(stack.remount());
  EXPECT_TRUE(read_file(stack.at("linked")) == content);
  EXPECT_EQ(mtime_ns(stack.at("linked")), 3'000'000'004);
}

TEST_P(CopyOnWrite, TruncationCopiesNoData) {
  std::int64_t before = begin();
  ASSERT_EQ(outcome(::truncate(stack.at("f").c_str(), 4 * kMiB + 1)), "ok");
  EXPECT_LE(growth(before), 32 * kKiB);
  EXPECT_TRUE(read_file(stack.at("f")) == content.substr(0, 4 * kMiB + 1));
  UniqueFd fd = open_file(stack.at("f"), O_WRONLY | O_TRUNC);
  EXPECT_EQ(stat_of(fd.get()).st_size, 0);
  EXPECT_LE(growth(before), 32 * kKiB);
}

TEST_P(CopyOnWrite, PunchedHolesCopyNoData) {
  std::int64_t before = begin();
  {
    UniqueFd fd = open_file(stack.at("f"), O_RDWR);
    ASSERT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMiB, 4 * kMiB)),
              "ok");
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_HOLE), kMiB);
    EXPECT_EQ(::lseek(fd.get(), kMiB, SEEK_DATA), 5 * kMiB);
  }
  content.replace(kMiB, 4 * kMiB, 4 * kMiB, '\0');
  EXPECT_LE(growth(before), 32 * kKiB);
  EXPECT_TRUE(read_file(stack.at("f")) == content);
  ASSERT_TRUE(stack.remount());
  EXPECT_TRUE(read_file(stack.at("f")) == content);
}

TEST_P(CopyOnWrite, AppendingCopiesNoData) {
  std::int64_t before = begin();
  {
    UniqueFd fd = open_file(stack.at("f"), O_WRONLY | O_APPEND);
    ASSERT_EQ(::write(fd.get(), "tail", 4), 4);
  }
  EXPECT_LE(growth(before), 32 * kKiB);
  ASSERT_TRUE(stack.remount());
  EXPECT_TRUE(read_file(stack.at("f")) == content + "tail");
}

TEST_P(CopyOnWrite, StoresThroughAMappingCopyOnlyTheirPages) {
  std::int64_t before = begin();
  {
    UniqueFd fd = open_file(stack.at("f"), O_RDWR);
    auto* mapped =
        static_cast<char*>(::mmap(nullptr, 8 * kMiB, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    ASSERT_NE(mapped, MAP_FAILED);
    mapped[3 * kMiB + 17] = 'M';
    ::munmap(mapped, 8 * kMiB);
  }
  content[3 * kMiB + 17] = 'M';
  ASSERT_TRUE(stack.remount());
  EXPECT_LE(growth(before), 48 * kKiB);
  EXPECT_TRUE(read_file(stack.at("f")) == content);
}

TEST_P(CopyOnWrite, MovingADirectoryCopiesNothingBelowIt) {
  for (int i = 0; i < 300; ++i) {
    write_file(stack.lower(0, fmt::format("d/{}/f{}", i % 10, i)), "content");
  }
  std::int64_t before = begin();
  ASSERT_EQ(outcome(::rename(stack.at("d").c_str(), stack.at("moved").c_str())), "ok");
  EXPECT_EQ(names_in(stack.at("moved/7")).size(), 30U);
  EXPECT_EQ(names_in(stack.upper("moved")), std::vector<std::string>{});
  EXPECT_LE(growth(before), 16 * kKiB) << "the directory, and a whiteout";
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(read_file(stack.at("moved/7/f297")), "content");
}

TEST_P(CopyOnWrite, AFileWrittenWholeNeedsItsLowerNoMore) {
  begin();
  std::string fresh = noise(8 * kMiB, 2);
  {
    UniqueFd fd = open_file(stack.at("f"), O_WRONLY);
    for (std::int64_t at = 0; at < 8 * kMiB; at += kMiB) {
      ASSERT_EQ(::pwrite(fd.get(), fresh.data() + at, kMiB, at), kMiB);
    }
    ASSERT_EQ(outcome(::fsync(fd.get())), "ok");
  }
  ASSERT_TRUE(stack.unmount());
  EXPECT_TRUE(read_file(stack.upper("f")) == fresh);
}

TEST_P(CopyOnWrite, BlocksTakenTellOfTheWholeFile) {
  begin();
  std::int64_t whole = stat_of(stack.at("f")).st_blocks;
  EXPECT_NEAR(static_cast<double>(whole), 8.0 * kMiB / 512, 64);
  write_at(stack.at("f"), 0, "x");
  EXPECT_NEAR(static_cast<double>(stat_of(stack.at("f")).st_blocks), static_cast<double>(whole), 64);
}

}  // namespace
}  // namespace varve::test
