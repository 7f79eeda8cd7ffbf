// Files without a name: made so by O_TMPFILE. Each case runs on the mount and on the file system below, with one expectation.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

std::string place_name(const testing::TestParamInfo<bool>& mounted) {
  return mounted.param ? "Mount" : "Native";
}

// A directory "d" to work in, that a layer shows or that lies beside the mount.
class Unnamed : public testing::TestWithParam<bool> {
 protected:
  MountedStack stack{StackShape{.lowers = 1}};
  std::string directory;

  void SetUp() override {
    if (GetParam()) {
      make_directories(stack.lower(0, "d"));
      ASSERT_TRUE(stack.mount());
      directory = stack.at("d");
    } else {
      directory = stack.scratch() + "/native";
      make_directories(directory);
    }
    const int probe = ::open(directory.c_str(), O_TMPFILE | O_RDWR, 0600);
    if (probe < 0 && errno == EOPNOTSUPP) GTEST_SKIP() << "needs a kernel that sends O_TMPFILE (Linux 6.2)";
    ASSERT_GE(probe, 0) << errno;
    ::close(probe);
  }
  UniqueFd make(mode_t mode = 0640, int more = 0) {
    return UniqueFd(::open(directory.c_str(), O_TMPFILE | O_RDWR | more, mode));
  }
  static int give_name(int fd, const std::string& path) {
    return ::linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD, path.c_str(),
                    AT_SYMLINK_FOLLOW);
  }
};
INSTANTIATE_TEST_SUITE_P(On, Unnamed, testing::Bool(), place_name);

TEST_P(Unnamed, HasNoNameAndNoLinks) {
  const UniqueFd fd = make();
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(stat_of(fd.get()).st_nlink, 0U);
  EXPECT_EQ(stat_of(fd.get()).st_mode, S_IFREG | 0640U);
  EXPECT_EQ(names_in(directory), std::vector<std::string>());
  ASSERT_EQ(::write(fd.get(), "text", 4), 4);
  EXPECT_EQ(read_at(fd.get(), 0, 10), "text");
  ASSERT_EQ(outcome(::fchmod(fd.get(), 0600)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_mode & 07777U, 0600U);
  EXPECT_EQ(stat_of(fd.get()).st_size, 4);
}

TEST_P(Unnamed, LinkatGivesItAName) {
  {
    const UniqueFd fd = make(0644);
    ASSERT_EQ(::write(fd.get(), "text", 4), 4);
    ASSERT_EQ(outcome(::fsetxattr(fd.get(), "user.a", "b", 1, 0)), "ok");
    ASSERT_EQ(outcome(give_name(fd.get(), directory + "/named")), "ok");
    EXPECT_EQ(stat_of(fd.get()).st_nlink, 1U);
    EXPECT_EQ(stat_of(fd.get()).st_ino, stat_of(directory + "/named").st_ino);
    ASSERT_EQ(outcome(give_name(fd.get(), directory + "/second")), "ok");
    EXPECT_EQ(outcome(give_name(fd.get(), directory + "/named")), "EEXIST");
    ASSERT_EQ(::write(fd.get(), " more", 5), 5);
  }
  EXPECT_EQ(stat_of(directory + "/second").st_nlink, 2U);
  ASSERT_EQ(outcome(::unlink((directory + "/named").c_str())), "ok");
  if (GetParam()) {
    ASSERT_TRUE(stack.remount());
  }
  EXPECT_EQ(read_file(directory + "/second"), "text more");
  char value = 0;
  EXPECT_EQ(::getxattr((directory + "/second").c_str(), "user.a", &value, 1), 1);
  EXPECT_EQ(value, 'b');
  EXPECT_EQ(stat_of(directory + "/second").st_nlink, 1U);
}

TEST_P(Unnamed, ExclusivelyItNeverGetsOne) {
  const UniqueFd fd = make(0644, O_EXCL);
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(outcome(give_name(fd.get(), directory + "/named")), "ENOENT");
  EXPECT_EQ(names_in(directory), std::vector<std::string>());
}

TEST_P(Unnamed, InheritsTheGroupOfASetgidDirectory) {
  VARVE_NEEDS(kOtherOwners);
  ASSERT_EQ(outcome(::chown(directory.c_str(), 0, 4321)), "ok");
  ASSERT_EQ(outcome(::chmod(directory.c_str(), 02777)), "ok");
  EXPECT_EQ(stat_of(make().get()).st_gid, 4321U);
  EXPECT_EQ(run_as(1234, 1234,
                   [&] {
                     const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR, 0666);
                     struct stat made {};
                     if (fd < 0 || ::fstat(fd, &made) != 0) return errno;
                     return made.st_uid == 1234 && made.st_gid == 4321 && (made.st_mode & 07777U) == 0644U
                                ? 0
                                : 254;
                   }),
            0);
}

TEST_P(Unnamed, TakesTheWaysOutThatOpenHas) {
  EXPECT_EQ(outcome(::open((directory + "/none").c_str(), O_TMPFILE | O_RDWR, 0600)), "ENOENT");
  write_file(directory + "/file", "x");
  EXPECT_EQ(outcome(::open((directory + "/file").c_str(), O_TMPFILE | O_RDWR, 0600)), "ENOTDIR");
  EXPECT_EQ(outcome(::open(directory.c_str(), O_TMPFILE | O_RDONLY, 0600)), "EINVAL");
}

TEST_P(Unnamed, LeavesNothingBehind) {
  for (int i = 0; i < 100; ++i) {
    const UniqueFd fd = make();
    ASSERT_TRUE(fd.valid());
    ASSERT_EQ(::write(fd.get(), "text", 4), 4);
  }
  if (!GetParam()) return;
  ASSERT_TRUE(stack.unmount());
  EXPECT_EQ(names_in(stack.upper("d")), std::vector<std::string>());
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(directory), std::vector<std::string>());
}

}  // namespace
}  // namespace varve::test
