// An upper on a file system that is full: what fails says ENOSPC, and leaves everything as it was.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/mounted/placed_tree.h"
#include "tests/support/mounted/small_disk.h"

namespace varve::test {
namespace {

// A tree on a small disk itself, or mounted with its upper there.
class FullDisk : public testing::TestWithParam<std::tuple<Place, SmallDisk::Kind>> {
 protected:
  static constexpr std::size_t kFileBytes = 20 * SmallDisk::kPageBytes;

  void SetUp() override {
    if (const std::string lack = SmallDisk::lack_of(kind); !lack.empty()) GTEST_SKIP() << lack;
    disk = std::make_unique<SmallDisk>(kind == SmallDisk::Kind::kExt4 ? 600 : 400, "", kind);
    if (place == Place::kNative) {
      make_directories(disk->path() + "/tree");
    } else {
      stack = std::make_unique<MountedStack>(
          StackShape{.lowers = 1, .layer_files = place == Place::kLayerFileLower, .writable = disk->path()});
    }
    const std::string seed = stack ? stack->lower(0) : disk->path() + "/tree";
    for (const char* name : {"a", "b", "d/c"}) write_file(seed + "/" + name, content);
    ASSERT_EQ(outcome(::symlink("a", (seed + "/link").c_str())), "ok");
    if (stack) {
      ASSERT_TRUE(stack->mount());
    }
  }
  std::string root() const { return stack ? stack->mount_point() : disk->path() + "/tree"; }
  std::string at(const std::string& name) const { return root() + "/" + name; }
  void again() {
    if (stack) {
      ASSERT_TRUE(stack->remount());
    }
  }

  const Place place = std::get<0>(GetParam());
  const SmallDisk::Kind kind = std::get<1>(GetParam());
  std::unique_ptr<SmallDisk> disk;
  std::unique_ptr<MountedStack> stack;
  const std::string content = noise(kFileBytes, 1);
};
INSTANTIATE_TEST_SUITE_P(
    In, FullDisk,
    testing::Combine(testing::Values(Place::kNative, Place::kDirectoryLower, Place::kLayerFileLower),
                     testing::Values(SmallDisk::Kind::kTmpfs, SmallDisk::Kind::kExt4)),
    [](const auto& one) {
      const std::string disk = std::get<1>(one.param) == SmallDisk::Kind::kExt4 ? "OnExt4" : "OnTmpfs";
      return place_name(testing::TestParamInfo<Place>(std::get<0>(one.param), one.index)) + disk;
    });

// The kernel sends all of it in one request, or, when it does not have the first page of it, that page first.
void drop_pages(const std::string& path) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  EXPECT_EQ(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED), 0);
}

TEST_P(FullDisk, AWriteIsDoneAsFarAsItSaysAndNoFurther) {
  for (const std::int64_t free_pages : {0, 1, 2, 3, 4, 7, 12}) {
    const std::string name = free_pages % 2 == 0 ? "a" : "d/c";
    const std::string before = read_file(at(name));
    // So that a later write finds the first block written already.
    if (free_pages <= 4) drop_pages(at(name));
    const std::string bytes(16 * SmallDisk::kPageBytes, static_cast<char>('0' + free_pages));
    disk->leave(free_pages);
    ssize_t written = 0;
    {
      const UniqueFd fd(::open(at(name).c_str(), O_WRONLY | O_CLOEXEC));
      if (fd.valid()) written = ::pwrite(fd.get(), bytes.data(), bytes.size(), 1000);
      if (written < 0) {
        EXPECT_STREQ(strerrorname_np(errno), "ENOSPC");
        written = 0;
      }
    }
    std::string expected = before;
    expected.replace(1000, static_cast<std::size_t>(written), bytes, 0, static_cast<std::size_t>(written));
    EXPECT_TRUE(read_file(at(name)) == expected)
        << free_pages << " pages free, " << written << " bytes written";
    disk->give_back();
    again();
    EXPECT_TRUE(read_file(at(name)) == expected) << "after a remount";
  }
}

TEST_P(FullDisk, AnAppendIsDoneAsFarAsItSaysAndNoFurther) {
  std::string expected = content;
  for (const std::int64_t free_pages : {0, 1, 2, 3, 5}) {
    const std::string bytes(10 * SmallDisk::kPageBytes, static_cast<char>('0' + free_pages));
    disk->leave(free_pages);
    {
      const UniqueFd fd(::open(at("a").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
      const ssize_t written = fd.valid() ? ::write(fd.get(), bytes.data(), bytes.size()) : 0;
      EXPECT_LT(written, static_cast<ssize_t>(bytes.size()));
      if (written > 0) expected += bytes.substr(0, static_cast<std::size_t>(written));
    }
    EXPECT_EQ(stat_of(at("a")).st_size, static_cast<off_t>(expected.size())) << free_pages << " pages free";
    EXPECT_TRUE(read_file(at("a")) == expected) << free_pages << " pages free";
    disk->give_back();
    again();
    EXPECT_TRUE(read_file(at("a")) == expected);
  }
}

struct Change {
  const char* what;
  std::function<long(const std::string& root)> make;
};

std::vector<Change> changes() {
  const auto close_it = [](int fd) { return fd < 0 ? long{fd} : long{::close(fd)}; };
  return {
      {"creat",
       [=](const std::string& root) {
         return close_it(::open((root + "/new").c_str(), O_CREAT | O_WRONLY, 0644));
       }},
      {"mkdir", [](const std::string& root) { return long{::mkdir((root + "/d/new").c_str(), 0755)}; }},
      {"symlink",
       [](const std::string& root) {
         return long{::symlink(std::string(3000, 't').c_str(), (root + "/new-link").c_str())};
       }},
      {"chmod", [](const std::string& root) { return long{::chmod((root + "/a").c_str(), 0600)}; }},
      {"setxattr",
       [](const std::string& root) {
         return long{::setxattr((root + "/b").c_str(), "user.x", std::string(2000, 'x').data(), 2000, 0)};
       }},
      {"truncate", [](const std::string& root) { return long{::truncate((root + "/d/c").c_str(), 5000)}; }},
      {"link",
       [](const std::string& root) {
         return long{::link((root + "/a").c_str(), (root + "/linked").c_str())};
       }},
      {"rename of a file",
       [](const std::string& root) {
         return long{::rename((root + "/b").c_str(), (root + "/moved").c_str())};
       }},
      {"rename of a directory",
       [](const std::string& root) { return long{::rename((root + "/d").c_str(), (root + "/e").c_str())}; }},
      {"unlink", [](const std::string& root) { return long{::unlink((root + "/link").c_str())}; }},
      {"open O_TRUNC",
       [=](const std::string& root) { return close_it(::open((root + "/a").c_str(), O_WRONLY | O_TRUNC)); }},
      {"fallocate",
       [](const std::string& root) {
         const UniqueFd fd(::open((root + "/a").c_str(), O_RDWR | O_CLOEXEC));
         return fd.valid() ? long{::fallocate(fd.get(), 0, 0, 100 * SmallDisk::kPageBytes)} : -1L;
       }},
  };
}

// Each change at 0, 1, 2, ... free pages until it is done: it fails with ENOSPC and changes nothing, or is done.
TEST_P(FullDisk, AChangeIsDoneOrLeavesAllAsItWas) {
  for (const Change& change : changes()) {
    // ext4 itself keeps what it could allocate.
    if (kind == SmallDisk::Kind::kExt4 && std::string(change.what) == "fallocate") continue;
    const Snapshot before = snapshot(root());
    std::string seen;
    for (std::int64_t free_pages = 0; free_pages < 250; free_pages += free_pages < 10 ? 1 : 60) {
      disk->leave(free_pages);
      seen = outcome(change.make(root()));
      disk->give_back();
      if (seen == "ok") break;
      EXPECT_EQ(seen, "ENOSPC") << change.what << ", " << free_pages << " pages free";
      EXPECT_EQ(differences(before, snapshot(root())), "")
          << change.what << ", " << free_pages << " pages free";
    }
    EXPECT_EQ(seen, "ok") << change.what;
    EXPECT_NE(differences(before, snapshot(root())), "") << change.what;
    const Snapshot after = snapshot(root());
    again();
    EXPECT_EQ(differences(after, snapshot(root())), "") << change.what << ", after a remount";
  }
}

TEST_P(FullDisk, ShowsWhatItHoldsAndLosesNothing) {
  write_at(at("a"), 5000, "changed");
  ASSERT_EQ(outcome(::unlink(at("b").c_str())), "ok");
  const Snapshot before = snapshot(root());
  disk->leave(0);
  EXPECT_EQ(differences(before, snapshot(root())), "");
  // That all went well cannot be noted on such a disk, nor that a mount has begun; what was there is there.
  if (stack) stack->terminate();
  disk->give_back();
  if (stack) {
    ASSERT_TRUE(stack->mount());
  }
  EXPECT_EQ(differences(before, snapshot(root())), "");
}

// Inodes may be lacking where there is space.
TEST(DiskWithoutInodes, RefusesNewObjectsOnly) {
  SmallDisk disk(1000, ",nr_inodes=60");
  MountedStack stack(StackShape{.lowers = 1, .writable = disk.path()});
  // Its second block stays below: a file written whole gives its map's inode back after close(2) has returned.
  const std::string two_blocks = noise(2 * SmallDisk::kPageBytes, 1);
  write_file(stack.lower(0, "before"), two_blocks);
  write_file(stack.lower(0, "after"), "content");
  ASSERT_TRUE(stack.mount());
  write_at(stack.at("before"), 0, "C");
  std::string seen;
  int made = 0;
  for (; made < 100 && seen.empty(); ++made) {
    const UniqueFd fd(
        ::open(stack.at(fmt::format("new-{}", made)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    if (!fd.valid()) seen = outcome(-1);
  }
  EXPECT_EQ(seen, "ENOSPC");
  EXPECT_EQ(names_in(stack.mount_point()).size(), static_cast<std::size_t>(made) + 1);
  EXPECT_EQ(outcome(::chmod(stack.at("after").c_str(), 0600)), "ENOSPC") << "its copy-up needs an inode";
  EXPECT_EQ(read_file(stack.at("after")), "content");
  write_at(stack.at("before"), 1, "O");
  for (int i = 0; i < 6; ++i) EXPECT_EQ(outcome(::unlink(stack.at(fmt::format("new-{}", i)).c_str())), "ok");
  EXPECT_EQ(outcome(::chmod(stack.at("after").c_str(), 0600)), "ok");
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(read_file(stack.at("before")), "CO" + two_blocks.substr(2));
}

}  // namespace
}  // namespace varve::test
