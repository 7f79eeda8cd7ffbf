#include "launcher/kernel/mount_calls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/launcher/scratch_directory.h"

namespace varve::launcher {
namespace {

// A hostile image and, beside it, what it must not reach.
class OpenBeneath : public ::testing::Test {
 protected:
  void SetUp() override {
    root_path_ = scratch_.make_directory("root");
    scratch_.make_directory("host");
    scratch_.write_file("host/secret", "secret");
    root_.reset(::open(root_path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root_.valid());
  }
  void link(const std::string& target, const std::string& name) {
    ASSERT_EQ(::symlink(target.c_str(), (root_path_ + "/" + name).c_str()), 0);
  }
  bool is_same(const UniqueFd& fd, const std::string& path) {
    struct stat a = {};
    struct stat b = {};
    return ::fstat(fd.get(), &a) == 0 && ::stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
  }

  ScratchDirectory scratch_;
  std::string root_path_;
  UniqueFd root_;
};

TEST_F(OpenBeneath, AbsoluteLinkStaysBeneathTheRoot) {
  link(scratch_.path() + "/host", "dev");
  EXPECT_EQ(open_beneath(root_.get(), "/dev/secret", O_RDONLY).error().value, ENOENT);
}

TEST_F(OpenBeneath, DotDotStaysBeneathTheRoot) {
  link("../../../../../../../../host", "dev");
  EXPECT_EQ(open_beneath(root_.get(), "/dev/secret", O_RDONLY).error().value, ENOENT);
  const auto up = open_beneath(root_.get(), "/../..", O_PATH);
  ASSERT_TRUE(up.ok());
  EXPECT_TRUE(is_same(*up, root_path_));
}

TEST_F(OpenBeneath, MagicLinkIsNotFollowed) {
  link("/proc/self/root", "proc-root");
  const auto opened = open_beneath(root_.get(), "/proc-root", O_PATH);
  EXPECT_FALSE(opened.ok());
}

TEST_F(OpenBeneath, LinkWithinTheRootIsFollowed) {
  scratch_.make_directory("root/real");
  link("/real", "dev");
  const auto opened = open_beneath(root_.get(), "/dev", O_PATH);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(is_same(*opened, root_path_ + "/real"));
}

TEST_F(OpenBeneath, MissingDirectoriesAreMadeBeneathTheRoot) {
  const auto made = make_directory_beneath(root_.get(), "/a/b/c");
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(is_same(*made, root_path_ + "/a/b/c"));
}

TEST_F(OpenBeneath, DirectoryIsMadeWhereALinkLeads) {
  scratch_.make_directory("root/real");
  link("/real", "alias");
  ASSERT_TRUE(make_directory_beneath(root_.get(), "/alias/new").ok());
  EXPECT_TRUE(std::filesystem::is_directory(root_path_ + "/real/new"));
}

TEST_F(OpenBeneath, LinkToNowhereIsAnError) {
  link("/nowhere", "dev");
  EXPECT_EQ(make_directory_beneath(root_.get(), "/dev").error().value, ENOENT);
  EXPECT_FALSE(std::filesystem::exists(root_path_ + "/nowhere"));
}

TEST_F(OpenBeneath, FileInPlaceOfADirectoryIsAnError) {
  scratch_.write_file("root/dev", "");
  EXPECT_EQ(make_directory_beneath(root_.get(), "/dev").error().value, ENOTDIR);
}

}  // namespace
}  // namespace varve::launcher
