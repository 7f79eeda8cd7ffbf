#include "launcher/inside/copy_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/unique_fd.h"
#include "scratch_directory.h"

namespace varve::launcher {
namespace {

class CopyTree : public ::testing::Test {
 protected:
  Status copy() const {
    const UniqueFd source(::open(source_.c_str(), O_RDONLY | O_DIRECTORY));
    const UniqueFd destination(::open(destination_.c_str(), O_RDONLY | O_DIRECTORY));
    return copy_tree(source.get(), destination.get());
  }
  struct stat about(const std::string& name) const {
    struct stat found = {};
    EXPECT_EQ(::lstat((destination_ + "/" + name).c_str(), &found), 0) << name;
    return found;
  }
  std::string text(const std::string& name) const {
    std::ifstream file(destination_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  ScratchDirectory scratch_;
  std::string source_ = scratch_.make_directory("source");
  std::string destination_ = scratch_.make_directory("destination");
};

TEST_F(CopyTree, KeepsContentsModesAndTimes) {
  scratch_.make_directory("source/a/b");
  scratch_.write_file("source/a/b/file", std::string(300000, 'x'));
  ::chmod((source_ + "/a/b/file").c_str(), 04751);
  ::chmod((source_ + "/a").c_str(), 0500);
  const struct timespec times[2] = {{1000, 1}, {2000, 2}};
  ::utimensat(AT_FDCWD, (source_ + "/a/b/file").c_str(), times, 0);
  ASSERT_EQ(error_number(copy()), 0);
  EXPECT_EQ(text("a/b/file"), std::string(300000, 'x'));
  EXPECT_EQ(about("a/b/file").st_mode & 07777, 04751U);
  EXPECT_EQ(about("a/b/file").st_mtim.tv_sec, 2000);
  EXPECT_EQ(about("a").st_mode & 07777, 0500U);
  ::chmod((source_ + "/a").c_str(), 0700);
  ::chmod((destination_ + "/a").c_str(), 0700);
}

TEST_F(CopyTree, KeepsLinksWithoutFollowingThem) {
  scratch_.write_file("outside", "outside");
  scratch_.write_file("source/one", "1");
  scratch_.make_directory("source/deep");
  std::filesystem::create_hard_link(source_ + "/one", source_ + "/deep/two");
  std::filesystem::create_symlink(scratch_.path() + "/outside", source_ + "/link");
  ASSERT_EQ(error_number(copy()), 0);
  EXPECT_EQ(about("one").st_ino, about("deep/two").st_ino);
  EXPECT_EQ(text("deep/two"), "1");
  EXPECT_TRUE(S_ISLNK(about("link").st_mode));
  EXPECT_EQ(std::filesystem::read_symlink(destination_ + "/link"), scratch_.path() + "/outside");
}

TEST_F(CopyTree, DoesNotWaitForFifos) {
  ASSERT_EQ(::mkfifo((source_ + "/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::chmod((source_ + "/fifo").c_str(), 0620), 0);
  ASSERT_EQ(error_number(copy()), 0);
  EXPECT_TRUE(S_ISFIFO(about("fifo").st_mode));
  EXPECT_EQ(about("fifo").st_mode & 07777, 0620U);
}

TEST_F(CopyTree, RefusesATreeWithoutEnd) {
  std::string path = "source";
  for (int depth = 0; depth < 258; ++depth) path += "/d";
  scratch_.make_directory(path);
  EXPECT_EQ(error_number(copy()), ELOOP);
}

}  // namespace
}  // namespace varve::launcher
