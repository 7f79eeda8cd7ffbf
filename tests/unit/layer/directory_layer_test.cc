#include "fs/layer/directory_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "tests/unit/layer/layer_builder.h"
#include "tests/unit/layer/temporary_directory.h"

namespace varve::layer {
namespace {

using test::must;
using testing::HasSubstr;
using Kind = Entry::Kind;

class DirectoryLayerTest : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return directory_.file(name); }
  void make_directory(const std::string& name) { std::filesystem::create_directories(at(name)); }
  void make_file(const std::string& name, std::string_view text = "") { test::write_file(at(name), text); }
  bool set_xattr(const std::string& name, const char* xattr, const std::string& value) {
    return ::setxattr(at(name).c_str(), xattr, value.data(), value.size(), 0) == 0;
  }
  std::unique_ptr<DirectoryLayer> open() { return must(DirectoryLayer::open(directory_.path())); }
  static std::map<std::string, Kind> list(const Layer& layer, LowerId id) {
    std::map<std::string, Kind> entries;
    const Status listed = layer.for_each_entry(id, [&](std::string_view name, const Entry& entry) {
      EXPECT_TRUE(entries.emplace(name, entry.kind).second) << name;
      return true;
    });
    EXPECT_TRUE(listed.ok());
    return entries;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(DirectoryLayerTest, ReadsOverridesWhereItIsTold) {
  constexpr const char* kOverride = "user.containers.override_stat";
  const std::string acl("\2\0\0\0", 4);
  make_directory("d");
  make_file("d/l", "target");
  make_file("d/dev");
  make_file("d/f", "text");
  make_file("d/bad");
  ASSERT_TRUE(set_xattr("d", kOverride, "1:2:1777"));
  ASSERT_TRUE(set_xattr("d/l", kOverride, "3:4:0777:symlink"));
  ASSERT_TRUE(set_xattr("d/dev", kOverride, "3:4:0600:char-0-0"));
  ASSERT_TRUE(set_xattr("d/f", kOverride, "5:6:4755"));
  ASSERT_TRUE(set_xattr("d/f", "user.varve.acl_access", acl));
  ASSERT_TRUE(set_xattr("d/bad", kOverride, "what"));
  const auto layer = must(DirectoryLayer::open(directory_.path(), true));
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "d").id)).mode, S_IFDIR | 01777u);
  EXPECT_EQ(test::find(*layer, "d/l").type, std::uint32_t{S_IFLNK});
  EXPECT_EQ(must(layer->read_link(test::find(*layer, "d/l").id)), "target");
  EXPECT_EQ(test::find(*layer, "d/dev").kind, Kind::kObject);
  EXPECT_EQ(must(layer->attributes(test::find(*layer, "d/dev").id)).mode, S_IFCHR | 0600u);
  const LowerId file = test::find(*layer, "d/f").id;
  EXPECT_EQ(must(layer->attributes(file)).uid, 5u);
  EXPECT_EQ(must(layer->attributes(file)).mode, S_IFREG | 04755u);
  EXPECT_EQ(must(test::content(*layer, "d/f")), "text");
  EXPECT_THAT(must(layer->xattr_names(file)), testing::ElementsAre("system.posix_acl_access"));
  EXPECT_EQ(must(layer->xattr(file, "system.posix_acl_access")), acl);
  EXPECT_EQ(layer->xattr(file, kOverride).error(), Errno{ENODATA});
  const Result<Entry> bad = layer->look_up(test::find(*layer, "d").id, must(Name::parse("bad")));
  EXPECT_EQ(bad.error(), Errno{EIO});
}

TEST_F(DirectoryLayerTest, AnOverrideIsAnXattrLikeAnyOtherWhereItIsNotTold) {
  make_file("f", "text");
  ASSERT_TRUE(set_xattr("f", "user.containers.override_stat", "5:6:4755:symlink"));
  const auto layer = open();
  const Entry found = test::find(*layer, "f");
  EXPECT_EQ(found.type, std::uint32_t{S_IFREG});
  EXPECT_EQ(must(layer->attributes(found.id)).uid, ::geteuid());
  EXPECT_EQ(must(layer->xattr(found.id, "user.containers.override_stat")), "5:6:4755:symlink");
}

TEST_F(DirectoryLayerTest, ShowsWhatIsThere) {
  make_directory("a/b");
  make_file("a/b/file", "content");
  std::filesystem::create_symlink("b/file", at("a/link"));
  const auto layer = open();
  EXPECT_EQ(must(test::content(*layer, "a/b/file")), "content");
  EXPECT_EQ(must(layer->read_link(test::find(*layer, "a/link").id)), "b/file");
  EXPECT_EQ(must(layer->path_of(test::find(*layer, "a/b/file").id)), "/a/b/file");
  EXPECT_EQ(must(layer->path_of(layer->root())), "/");
  EXPECT_EQ(test::find(*layer, "a/none").kind, Kind::kAbsent);
  EXPECT_EQ(test::find(*layer, "a/link").type, std::uint32_t{S_IFLNK});
  EXPECT_EQ(layer->read_link(test::find(*layer, "a/b/file").id).error(), Errno{EINVAL});
}

TEST_F(DirectoryLayerTest, GivesHardLinksOneId) {
  make_file("one", "x");
  std::filesystem::create_hard_link(at("one"), at("two"));
  const auto layer = open();
  const LowerId first = test::find(*layer, "one").id;
  const LowerId second = test::find(*layer, "two").id;
  EXPECT_EQ(first, second);
  EXPECT_EQ(must(layer->path_of(second)), "/one");
}

TEST_F(DirectoryLayerTest, GivesInodeNumbersOfTheFileSystem) {
  make_file("one");
  struct stat status {};
  ASSERT_EQ(::stat(at("one").c_str(), &status), 0);
  const auto layer = open();
  if (status.st_ino >= 1ULL << 39) GTEST_SKIP() << "this file system's inode numbers have more than 39 bits";
  EXPECT_EQ(must(layer->inode_number(test::find(*layer, "one").id)), status.st_ino);
}

TEST_F(DirectoryLayerTest, GivesHashedNumbersBeyondItsFileSystem) {
  struct stat proc {};
  struct stat root {};
  ASSERT_EQ(::stat("/proc", &proc), 0);
  ASSERT_EQ(::stat("/", &root), 0);
  if (proc.st_dev == root.st_dev) GTEST_SKIP() << "/proc is not mounted";
  const auto first = must(DirectoryLayer::open("/"));
  const auto second = must(DirectoryLayer::open("/"));
  const std::uint64_t number = must(first->inode_number(test::find(*first, "proc").id));
  EXPECT_GE(number, 1ULL << 39);
  EXPECT_LT(number, 1ULL << 40);
  EXPECT_EQ(number, must(second->inode_number(test::find(*second, "proc").id)));
}

TEST_F(DirectoryLayerTest, TakesDevicesOfNumberZeroForWhiteouts) {
  if (::mknod(at("gone").c_str(), S_IFCHR | 0600, makedev(0, 0)) != 0)
    GTEST_SKIP() << "needs root for device nodes";
  ASSERT_EQ(::mknod(at("null").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
  const auto layer = open();
  EXPECT_EQ(test::find(*layer, "gone").kind, Kind::kWhiteout);
  EXPECT_EQ(test::find(*layer, "null").kind, Kind::kObject);
  EXPECT_EQ(list(*layer, layer->root()),
            (std::map<std::string, Kind>{{"gone", Kind::kWhiteout}, {"null", Kind::kObject}}));
}

TEST_F(DirectoryLayerTest, TakesWhFilesForWhiteouts) {
  make_file(".wh.gone");
  make_file(".wh.both");
  make_file("both", "new");
  make_file(".wh..wh.plnk");
  const auto layer = open();
  EXPECT_EQ(test::find(*layer, "gone").kind, Kind::kWhiteout);
  EXPECT_EQ(test::find(*layer, "both").kind, Kind::kObject);
  EXPECT_EQ(test::find(*layer, ".wh.gone").kind, Kind::kAbsent);
  EXPECT_EQ(list(*layer, layer->root()),
            (std::map<std::string, Kind>{{"gone", Kind::kWhiteout}, {"both", Kind::kObject}}));
}

TEST_F(DirectoryLayerTest, TakesEmptyFilesWithTheXattrForWhiteouts) {
  make_file("gone");
  make_file("full", "not empty");
  make_file("empty");
  const bool set =
      set_xattr("gone", "user.overlay.whiteout", "y") && set_xattr("full", "user.overlay.whiteout", "y");
  if (!set) GTEST_SKIP() << "no user xattrs under /tmp";
  const auto layer = open();
  EXPECT_EQ(test::find(*layer, "gone").kind, Kind::kWhiteout);
  EXPECT_EQ(test::find(*layer, "full").kind, Kind::kObject);
  EXPECT_EQ(test::find(*layer, "empty").kind, Kind::kObject);
}

TEST_F(DirectoryLayerTest, TellsOpaqueDirectories) {
  for (const char* name : {"plain", "file", "fuse", "user", "xwhiteouts", "sibling"}) make_directory(name);
  make_file("file/.wh..wh..opq");
  make_file(".wh.sibling");
  const bool set = set_xattr("fuse", "user.fuseoverlayfs.opaque", "y") &&
                   set_xattr("user", "user.overlay.opaque", "y") &&
                   set_xattr("xwhiteouts", "user.overlay.opaque", "x");
  const auto layer = open();
  const auto is_opaque = [&](const char* name) {
    return must(layer->directory_mark(test::find(*layer, name).id)).opaque;
  };
  EXPECT_FALSE(is_opaque("plain"));
  EXPECT_TRUE(is_opaque("file"));
  EXPECT_TRUE(is_opaque("sibling"));
  EXPECT_TRUE(list(*layer, test::find(*layer, "file").id).empty());
  if (!set) GTEST_SKIP() << "no user xattrs under /tmp: the rest was checked";
  EXPECT_TRUE(is_opaque("fuse"));
  EXPECT_TRUE(is_opaque("user"));
  EXPECT_FALSE(is_opaque("xwhiteouts"));
}

TEST_F(DirectoryLayerTest, ReadsTrustedMarks) {
  make_directory("opaque");
  make_directory("moved");
  make_directory("moved-by-varve");
  if (!set_xattr("opaque", "trusted.overlay.opaque", "y") ||
      !set_xattr("moved", "trusted.overlay.redirect", "/was/here") ||
      !set_xattr("moved-by-varve", "trusted.varve.redirect", "/was/there")) {
    GTEST_SKIP() << "needs root for trusted xattrs";
  }
  const auto layer = open();
  EXPECT_TRUE(must(layer->directory_mark(test::find(*layer, "opaque").id)).opaque);
  EXPECT_EQ(must(layer->directory_mark(test::find(*layer, "moved").id)).redirect, "/was/here");
  EXPECT_EQ(must(layer->directory_mark(test::find(*layer, "moved-by-varve").id)).redirect, "/was/there");
  EXPECT_TRUE(must(layer->xattr_names(test::find(*layer, "opaque").id)).empty());
}

TEST_F(DirectoryLayerTest, TellsUsersDevicesFromWhiteouts) {
  for (const char* name : {"gone", "device"}) {
    if (::mknod(at(name).c_str(), S_IFCHR | 0600, 0) != 0) GTEST_SKIP() << "needs root for devices";
  }
  if (!set_xattr("device", "trusted.varve.device", "1")) GTEST_SKIP() << "needs root for trusted xattrs";
  const auto layer = open();
  EXPECT_EQ(must(layer->look_up(layer->root(), must(Name::parse("gone")))).kind, Entry::Kind::kWhiteout);
  EXPECT_EQ(must(layer->look_up(layer->root(), must(Name::parse("device")))).kind, Entry::Kind::kObject);
}

TEST_F(DirectoryLayerTest, RedirectsWithoutASlashNameSiblings) {
  for (const char* name : {"moved", "parent", "parent/inner", "parent/inner/innermost"}) make_directory(name);
  if (!set_xattr("moved", "user.overlay.redirect", "sibling")) GTEST_SKIP() << "no user xattrs under /tmp";
  ASSERT_TRUE(set_xattr("parent", "user.overlay.redirect", "/was/there"));
  ASSERT_TRUE(set_xattr("parent/inner/innermost", "user.overlay.redirect", "old"));
  const auto layer = open();
  const auto redirect = [&layer](const char* path) {
    return must(layer->directory_mark(test::find(*layer, path).id)).redirect;
  };
  EXPECT_EQ(redirect("moved"), "/sibling");
  EXPECT_EQ(redirect("parent"), "/was/there");
  EXPECT_EQ(redirect("parent/inner"), std::nullopt);
  EXPECT_EQ(redirect("parent/inner/innermost"), "/was/there/inner/old");
}

TEST_F(DirectoryLayerTest, RefusesRedirectsThatAreNoPathAndNoName) {
  make_directory("moved");
  if (!set_xattr("moved", "user.overlay.redirect", "a/b")) GTEST_SKIP() << "no user xattrs under /tmp";
  const auto layer = open();
  testing::internal::CaptureStderr();
  EXPECT_EQ(layer->directory_mark(test::find(*layer, "moved").id).error(), Errno{EIO});
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("directory /moved: a redirect"));
}

TEST_F(DirectoryLayerTest, RefusesFilesWhoseContentIsElsewhere) {
  for (const char* mark : {"user.overlay.metacopy", "user.varve.base"}) {
    make_file(mark, "zeros");
    if (!set_xattr(mark, mark, "")) GTEST_SKIP() << "no user xattrs under /tmp";
    const auto layer = open();
    testing::internal::CaptureStderr();
    EXPECT_EQ(layer->open_file(test::find(*layer, mark).id).error(), Errno{EIO});
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr(std::string("file /") + mark + ": only a part of its content lies here"));
  }
}

TEST_F(DirectoryLayerTest, ShowsXattrsButNoMarks) {
  make_file("file", "x");
  if (!set_xattr("file", "user.kept", std::string(3000, 'v'))) GTEST_SKIP() << "no user xattrs under /tmp";
  ASSERT_TRUE(set_xattr("file", "user.overlay.origin", "1"));
  ASSERT_TRUE(set_xattr("file", "user.varve.mark", "1"));
  const auto layer = open();
  const LowerId id = test::find(*layer, "file").id;
  EXPECT_THAT(must(layer->xattr_names(id)), testing::Contains("user.kept"));
  EXPECT_THAT(must(layer->xattr_names(id)),
              testing::Not(testing::Contains(testing::AnyOf("user.overlay.origin", "user.varve.mark"))));
  EXPECT_EQ(must(layer->xattr(id, "user.kept")), std::string(3000, 'v'));
  EXPECT_EQ(layer->xattr(id, "user.varve.mark").error(), Errno{ENODATA});
  EXPECT_EQ(layer->xattr(id, "user.none").error(), Errno{ENODATA});
}

TEST_F(DirectoryLayerTest, TellsHoles) {
  const int fd = ::open(at("sparse").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::pwrite(fd, "x", 1, 1 << 20), 1);
  ASSERT_EQ(::ftruncate(fd, 1 << 21), 0);
  const bool has_holes = ::lseek(fd, 0, SEEK_HOLE) == 0;
  ::close(fd);
  const auto layer = open();
  const auto file = must(layer->open_file(test::find(*layer, "sparse").id));
  EXPECT_EQ(file->size_bytes(), 1U << 21);
  EXPECT_EQ(must(file->next_data(1 << 21)), std::nullopt);
  if (!has_holes) GTEST_SKIP() << "no holes under /tmp";
  const auto range = must(file->next_data(0));
  ASSERT_TRUE(range.has_value());
  EXPECT_GT(range->offset_bytes, 0U);
  EXPECT_LE(range->offset_bytes, 1U << 20);
  EXPECT_EQ(must(file->next_data(range->offset_bytes + range->size_bytes)), std::nullopt);
}

TEST_F(DirectoryLayerTest, DoesNotFollowLinksOutOfItself) {
  make_directory("a");
  make_file("a/file", "inside");
  const auto layer = open();
  const LowerId file = test::find(*layer, "a/file").id;
  std::filesystem::remove_all(at("a"));
  std::filesystem::create_directory_symlink("/etc", at("a"));
  EXPECT_FALSE(layer->attributes(file).ok());
}

TEST_F(DirectoryLayerTest, AnswersStaleForAReplacedObject) {
  make_file("file", "old");
  make_file("new", "new");
  const auto layer = open();
  const LowerId file = test::find(*layer, "file").id;
  std::filesystem::rename(at("new"), at("file"));
  EXPECT_EQ(layer->open_file(file).error(), Errno{ESTALE});
}

TEST_F(DirectoryLayerTest, ReachesPathsLongerThanTheKernelTakes) {
  const std::string name(200, 'd');
  int parent = ::open(directory_.path().c_str(), O_PATH | O_DIRECTORY);
  for (int depth = 0; depth < 30; ++depth) {
    ASSERT_EQ(::mkdirat(parent, name.c_str(), 0700), 0);
    const int child = ::openat(parent, name.c_str(), O_PATH | O_DIRECTORY);
    ::close(parent);
    parent = child;
  }
  ASSERT_EQ(::symlinkat("target", parent, "link"), 0);
  ::close(parent);
  const auto layer = open();
  LowerId id = layer->root();
  for (int depth = 0; depth < 30; ++depth) id = must(layer->look_up(id, must(Name::parse(name)))).id;
  EXPECT_EQ(must(layer->read_link(must(layer->look_up(id, must(Name::parse("link")))).id)), "target");
}

TEST_F(DirectoryLayerTest, AnswersManyThreadsAlike) {
  for (int i = 0; i < 100; ++i) make_file("f" + std::to_string(i), std::to_string(i));
  const auto layer = open();
  std::vector<std::vector<LowerId>> ids(4);
  std::vector<std::thread> threads;
  for (auto& mine : ids) {
    threads.emplace_back([&layer, &mine] {
      for (int i = 0; i < 100; ++i) mine.push_back(test::find(*layer, "f" + std::to_string(i)).id);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : ids) EXPECT_EQ(mine, ids[0]);
  EXPECT_EQ((std::set<std::uint64_t>{ids[0][0].value(), ids[0][99].value()}.size()), 2U);
}

TEST_F(DirectoryLayerTest, IsIdentifiedAlikeEachTime) {
  const Identity identity = open()->identity();
  EXPECT_EQ(identity, open()->identity());
  EXPECT_EQ(identity.kind, Identity::Kind::kDirectory);
  EXPECT_EQ(std::count(identity.value.begin(), identity.value.end(), '.'), 2);
  const test::TemporaryDirectory other;
  EXPECT_NE(must(DirectoryLayer::open(other.path()))->identity(), identity);
}

}  // namespace
}  // namespace varve::layer
