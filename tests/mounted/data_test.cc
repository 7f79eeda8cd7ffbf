// The bytes of files: truncation, holes, allocation, copying within the kernel, direct and large I/O.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

class Data : public EverywhereTest {
 protected:
  // A file of `size` with data in its first and last 8 KiB only.
  void seed_sparse(const std::string& name, std::int64_t size) {
    write_file(tree.seed(name), std::string(8192, 'a'));
    ASSERT_EQ(outcome(::truncate(tree.seed(name).c_str(), size)), "ok");
    write_at(tree.seed(name), size - 8192, std::string(8192, 'z'));
  }
};
VARVE_EVERYWHERE(Data);

TEST_P(Data, TruncatedThenExtendedIsZero) {
  std::string content = noise(50'000, 1);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::truncate(tree.at("f").c_str(), 10'001)), "ok");
  EXPECT_EQ(read_file(tree.at("f")), content.substr(0, 10'001));
  ASSERT_EQ(outcome(::truncate(tree.at("f").c_str(), 30'000)), "ok");
  std::string expected = content.substr(0, 10'001) + std::string(19'999, '\0');
  EXPECT_EQ(read_file(tree.at("f")), expected);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), expected);
}

TEST_P(Data, TruncatedStaysSoAfterRemounts) {
  std::string content = noise(50'000, 2);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::truncate(tree.at("f").c_str(), 20'000)), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), content.substr(0, 20'000));
  ASSERT_EQ(outcome(::truncate(tree.at("f").c_str(), 40'000)), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), content.substr(0, 20'000) + std::string(20'000, '\0'));
}

TEST_P(Data, TruncatedThroughADescriptor) {
  write_file(tree.seed("f"), "0123456789");
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  ASSERT_EQ(outcome(::ftruncate(fd.get(), 4)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_size, 4);
  EXPECT_EQ(read_file(tree.at("f")), "0123");
  ASSERT_EQ(outcome(::ftruncate(fd.get(), 0)), "ok");
  EXPECT_EQ(read_file(tree.at("f")), "");
}

TEST_P(Data, WrittenPastTheEndLeavesZerosBetween) {
  write_file(tree.seed("f"), "begin");
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("f"), 20'000, "end");
  EXPECT_EQ(read_file(tree.at("f")), "begin" + std::string(19'995, '\0') + "end");
}

TEST_P(Data, HolesAreTold) {
  seed_sparse("f", kMiB);
  ASSERT_TRUE(tree.begin());
  for (int round = 0; round < 2; ++round) {
    UniqueFd fd = open_file(tree.at("f"), O_RDONLY);
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_HOLE), 8192);
    EXPECT_EQ(::lseek(fd.get(), 8192, SEEK_DATA), kMiB - 8192);
    EXPECT_EQ(::lseek(fd.get(), kMiB - 100, SEEK_HOLE), kMiB);
    EXPECT_EQ(outcome(::lseek(fd.get(), kMiB, SEEK_DATA)), "ENXIO");
    EXPECT_LE(stat_of(fd.get()).st_blocks * 512, 64 * 1024);
    ASSERT_TRUE((fd.reset(), tree.again()));
  }
}

TEST_P(Data, WrittenIntoAHoleIsToldAsData) {
  seed_sparse("f", kMiB);
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("f"), 512 * 1024, std::string(4096, 'm'));
  UniqueFd fd = open_file(tree.at("f"), O_RDONLY);
  EXPECT_EQ(::lseek(fd.get(), 8192, SEEK_DATA), 512 * 1024);
  EXPECT_EQ(::lseek(fd.get(), 512 * 1024, SEEK_HOLE), 512 * 1024 + 4096);
  EXPECT_EQ(::lseek(fd.get(), 512 * 1024 + 4096, SEEK_DATA), kMiB - 8192);
  EXPECT_EQ(read_at(fd.get(), 512 * 1024 - 2, 4), std::string(2, '\0') + "mm");
}

TEST_P(Data, PunchedHolesAreZero) {
  std::string content = noise(64 * 1024, 4);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  {
    UniqueFd fd = open_file(tree.at("f"), O_RDWR);
    ASSERT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10'000, 20'000)),
              "ok");
    content.replace(10'000, 20'000, 20'000, '\0');
    EXPECT_EQ(read_at(fd.get(), 0, 70'000), content);
    EXPECT_EQ(::lseek(fd.get(), 0, SEEK_HOLE), 12'288);
    EXPECT_EQ(::lseek(fd.get(), 12'288, SEEK_DATA), 28'672);
  }
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), content);
}

TEST_P(Data, ZeroedRangesAreZero) {
  std::string content = noise(64 * 1024, 5);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  ASSERT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE, 1000, 9000)), "ok");
  content.replace(1000, 9000, 9000, '\0');
  EXPECT_EQ(read_at(fd.get(), 0, 70'000), content);
}

TEST_P(Data, AllocatedSpaceExtendsUnlessTold) {
  write_file(tree.seed("f"), "data");
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  ASSERT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 32 * 1024)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_size, 4);
  ASSERT_EQ(outcome(::fallocate(fd.get(), 0, 0, 16 * 1024)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_size, 16 * 1024);
  EXPECT_EQ(read_at(fd.get(), 0, 20'000), "data" + std::string(16 * 1024 - 4, '\0'));
}

TEST_P(Data, CopiedWithinTheKernel) {
  std::string content = noise(200'000, 6);
  write_file(tree.seed("from"), content);
  write_file(tree.seed("to"), std::string(300'000, 't'));
  ASSERT_TRUE(tree.begin());
  UniqueFd from = open_file(tree.at("from"), O_RDONLY);
  UniqueFd to = open_file(tree.at("to"), O_RDWR);
  off_t from_offset = 1000;
  off_t to_offset = 50'000;
  std::size_t left = 150'000;
  while (left > 0) {
    ssize_t copied = ::copy_file_range(from.get(), &from_offset, to.get(), &to_offset, left, 0);
    ASSERT_GT(copied, 0) << outcome(copied);
    left -= static_cast<std::size_t>(copied);
  }
  std::string expected(300'000, 't');
  expected.replace(50'000, 150'000, content, 1000, 150'000);
  EXPECT_EQ(read_file(tree.at("to")), expected);
}

TEST_P(Data, ReadAndWrittenDirectly) {
  std::string content = noise(64 * 1024, 7);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  void* memory = nullptr;
  ASSERT_EQ(::posix_memalign(&memory, 4096, 8192), 0);
  auto* buffer = static_cast<char*>(memory);
  UniqueFd fd = open_file(tree.at("f"), O_RDWR | O_DIRECT);
  ASSERT_EQ(::pread(fd.get(), buffer, 8192, 4096), 8192);
  EXPECT_EQ(std::string(buffer, 8192), content.substr(4096, 8192));
  std::fill(buffer, buffer + 8192, 'd');
  ASSERT_EQ(::pwrite(fd.get(), buffer, 8192, 16'384), 8192);
  content.replace(16'384, 8192, 8192, 'd');
  EXPECT_EQ(read_file(tree.at("f")), content);
  std::free(memory);
}

TEST_P(Data, LiesBeyondFourGiB) {
  constexpr std::int64_t kFar = 5LL << 30;
  write_file(tree.seed("f"), "near");
  ASSERT_EQ(outcome(::truncate(tree.seed("f").c_str(), kFar + 4)), "ok");
  write_at(tree.seed("f"), kFar, "far!");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(read_at(tree.at("f"), kFar, 10), "far!");
  write_at(tree.at("f"), kFar + 1, "AR and further");
  EXPECT_EQ(stat_of(tree.at("f")).st_size, kFar + 15);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_at(tree.at("f"), kFar, 20), "fAR and further");
  EXPECT_EQ(read_at(tree.at("f"), 0, 6), std::string("near\0\0", 6));
}

TEST_P(Data, WrittenAtRandomAgreesWithAModel) {
  std::string model = noise(500'000, 8);
  write_file(tree.seed("f"), model);
  ASSERT_TRUE(tree.begin());
  std::uint32_t state = 12345;
  auto next = [&state](std::uint32_t bound) {
    state = state * 1664525U + 1013904223U;
    return (state >> 8) % bound;
  };
  for (int round = 0; round < 4; ++round) {
    {
      UniqueFd fd = open_file(tree.at("f"), O_RDWR);
      for (int i = 0; i < 100; ++i) {
        std::size_t offset = next(520'000);
        std::string bytes(1 + next(9000), static_cast<char>('A' + i % 26));
        ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
                  static_cast<ssize_t>(bytes.size()));
        if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size(), '\0');
        model.replace(offset, bytes.size(), bytes);
      }
    }
    ASSERT_TRUE(read_file(tree.at("f")) == model) << "round " << round;
    ASSERT_TRUE(tree.again());
    ASSERT_TRUE(read_file(tree.at("f")) == model) << "after the remount of round " << round;
  }
}

TEST_P(Data, BlocksTakenAreWhatAPlainFileTakes) {
  constexpr std::int64_t kBlock = 4096;
  const auto blocks = [this] { return stat_of(tree.at("f")).st_blocks * 512 / kBlock; };
  write_file(tree.seed("f"), noise(100 * kBlock, 9));
  ASSERT_TRUE(tree.begin());
  EXPECT_NEAR(static_cast<double>(blocks()), 100, 1);
  {
    const UniqueFd fd = open_file(tree.at("f"), O_RDWR);
    ASSERT_EQ(
        outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20 * kBlock, 30 * kBlock)),
        "ok");
    EXPECT_NEAR(static_cast<double>(blocks()), 70, 1);
    ASSERT_EQ(outcome(::ftruncate(fd.get(), 1000 * kBlock)), "ok");
    EXPECT_NEAR(static_cast<double>(blocks()), 70, 1);
    ASSERT_EQ(::pwrite(fd.get(), noise(5 * kBlock, 3).data(), 5 * kBlock, 500 * kBlock), 5 * kBlock);
    ASSERT_EQ(outcome(::fsync(fd.get())), "ok");
    EXPECT_NEAR(static_cast<double>(blocks()), 75, 1);
    ASSERT_EQ(outcome(::ftruncate(fd.get(), 60 * kBlock)), "ok");
  }
  for (int round = 0; round < 2; ++round) {
    EXPECT_NEAR(static_cast<double>(blocks()), 30, 1);
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Data, AllocatedWronglyIsRefused) {
  write_file(tree.seed("f"), "data");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  const UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  EXPECT_EQ(outcome(::fallocate(fd.get(), 0, 0, 0)), "EINVAL");
  EXPECT_EQ(outcome(::fallocate(fd.get(), 0, -1, 10)), "EINVAL");
  EXPECT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE, 0, 4096)), "EOPNOTSUPP")
      << "it must keep the size";
  EXPECT_EQ(outcome(::fallocate(open_file(tree.at("f"), O_RDONLY).get(), 0, 0, 10)), "EBADF");
  EXPECT_EQ(outcome(::fallocate(open_file(tree.at("fifo"), O_RDWR).get(), 0, 0, 10)), "ESPIPE");
  EXPECT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100'000, 4096)), "ok");
  EXPECT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2, 100'000)), "ok");
  EXPECT_EQ(read_file(tree.at("f")), std::string("da\0\0", 4));
  EXPECT_EQ(outcome(::fallocate(fd.get(), FALLOC_FL_ZERO_RANGE, 4, 6)), "ok");
  EXPECT_EQ(read_file(tree.at("f")), "da" + std::string(8, '\0'));
}

TEST_P(Data, GrowsNoFurtherThanTheWriterMay) {
  write_file(tree.seed("f"), std::string(5000, 'a'));
  ASSERT_TRUE(tree.begin());
  const pid_t child = ::fork();
  if (child == 0) {
    const struct rlimit limit { 10'000, 10'000 };
    ::signal(SIGXFSZ, SIG_IGN);
    const int fd = ::open(tree.at("f").c_str(), O_RDWR | O_CLOEXEC);
    const std::string bytes(8000, 'b');
    const bool good =
        ::setrlimit(RLIMIT_FSIZE, &limit) == 0 && ::pwrite(fd, bytes.data(), 8000, 6000) == 4000 &&
        outcome(::pwrite(fd, bytes.data(), 10, 10'000)) == "EFBIG" &&
        outcome(::ftruncate(fd, 10'001)) == "EFBIG" && outcome(::fallocate(fd, 0, 0, 10'001)) == "EFBIG";
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(tree.at("f")),
            std::string(5000, 'a') + std::string(1000, '\0') + std::string(4000, 'b'));
}

TEST_P(Data, SyncedWithoutError) {
  write_file(tree.seed("f"), "data");
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("f"), 0, "D");
  UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  EXPECT_EQ(outcome(::fsync(fd.get())), "ok");
  EXPECT_EQ(outcome(::fdatasync(fd.get())), "ok");
  UniqueFd directory = open_file(tree.root(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(outcome(::fsync(directory.get())), "ok");
  EXPECT_EQ(outcome(::syncfs(directory.get())), "ok");
}

}  // namespace
}  // namespace varve::test
