// What others wrote, and what others read: lowers and uppers of the kernel's overlayfs, marks of other unions, lowers on other file
// systems.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/mounted/mounted_stack.h"
#include "tests/support/mounted/small_disk.h"

namespace varve::test {
namespace {

using Names = std::vector<std::string>;

// The kernel's overlayfs over one lower, in directories of its own; where the caller may not set trusted xattrs, with user ones.
class KernelOverlay {
 public:
  explicit KernelOverlay(const std::string& options = {})
      : root_(lack_of(Right::kRootOfHost).empty()), options_(options + (root_ ? "" : ",userxattr")) {
    for (const std::string& path : {lower(), upper(), work(), merged()}) make_directories(path);
  }
  ~KernelOverlay() { ::umount2(merged().c_str(), MNT_DETACH); }
  KernelOverlay(const KernelOverlay&) = delete;
  KernelOverlay& operator=(const KernelOverlay&) = delete;

  std::string lower() const { return scratch_.path() + "/lower"; }
  std::string upper() const { return scratch_.path() + "/upper"; }
  std::string work() const { return scratch_.path() + "/work"; }
  std::string merged(const std::string& name = {}) const {
    return scratch_.path() + "/merged" + (name.empty() ? "" : "/" + name);
  }
  // Over `lower` and under `upper`, or its own.
  testing::AssertionResult mount(const std::string& lower, const std::string& upper) {
    const std::string data = "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work() + options_;
    if (::mount("none", merged().c_str(), "overlay", 0, data.c_str()) == 0)
      return testing::AssertionSuccess();
    return testing::AssertionFailure() << "mounting overlayfs with " << data << ": " << outcome(-1);
  }
  void unmount() { EXPECT_EQ(outcome(::umount2(merged().c_str(), 0)), "ok"); }

 private:
  ScratchDirectory scratch_;
  bool root_;
  std::string options_;
};

// As a snapshot, but without what overlayfs shows otherwise: the numbers of links of directories, and varve's own marks.
Snapshot contents(const std::string& root) {
  static const std::regex kMarks(" (trusted|user)\\.varve\\.[a-z-]+=[0-9a-f]*");
  Snapshot all = snapshot(root);
  for (auto& [path, line] : all) {
    const std::size_t at = line.find("nlink=");
    if (line.find("content=") == std::string::npos) line.erase(at, line.find(' ', at) - at);
    line = std::regex_replace(line, kMarks, "");
  }
  return all;
}

void fill_lower(const std::string& lower) {
  write_file(lower + "/kept", "kept");
  write_file(lower + "/changed", "to be changed");
  write_file(lower + "/gone", "to go");
  write_file(lower + "/d/a", "a");
  write_file(lower + "/d/b", "b");
  write_file(lower + "/d/sub/c", "c");
  write_file(lower + "/anew/old", "old");
  write_file(lower + "/became-file/x", "x");
  write_file(lower + "/became-directory", "x");
  ASSERT_EQ(outcome(::symlink("kept", (lower + "/link").c_str())), "ok");
}

// Whiteouts, an opaque directory, a file in place of a directory and the other way round, a changed and some new objects. No
// file is changed in part and no directory moved.
void change_without_redirects(const std::string& root) {
  ASSERT_EQ(outcome(::unlink((root + "/gone").c_str())), "ok");
  ASSERT_EQ(outcome(::unlink((root + "/d/a").c_str())), "ok");
  ASSERT_EQ(
      run({"rm", "-r", root + "/anew", root + "/became-file", root + "/became-directory", root + "/d/sub"})
          .err,
      "");
  write_file(root + "/anew/new", "new");
  write_file(root + "/became-file", "a file now");
  write_file(root + "/became-directory/y", "y");
  write_file(root + "/changed", "changed as a whole, and longer than before");
  write_file(root + "/d/new", "new");
  ASSERT_EQ(outcome(::chmod((root + "/d").c_str(), 0750)), "ok");
  ASSERT_EQ(outcome(::symlink("new", (root + "/d/link").c_str())), "ok");
  ASSERT_EQ(outcome(::link((root + "/d/new").c_str(), (root + "/d/linked").c_str())), "ok");
  ASSERT_EQ(outcome(::mkfifo((root + "/d/fifo").c_str(), 0600)), "ok");
}

TEST(KernelOverlayfs, MountsAnUpperWithoutPartlyCopiedFilesAndRedirects) {
  VARVE_NEEDS(kPlainUpper);
  MountedStack stack(StackShape{.lowers = 1});
  fill_lower(stack.lower(0));
  ASSERT_TRUE(stack.mount());
  change_without_redirects(stack.mount_point());
  const Snapshot ours = contents(stack.mount_point());
  ASSERT_TRUE(stack.unmount());
  KernelOverlay overlay;
  ASSERT_TRUE(overlay.mount(stack.lower(0), stack.upper()));
  EXPECT_EQ(differences(ours, contents(overlay.merged())), "");
  // What it changes there, the next mount shows.
  write_file(overlay.merged("kept"), "changed by overlayfs");
  ASSERT_EQ(outcome(::unlink(overlay.merged("d/b").c_str())), "ok");
  const Snapshot theirs = contents(overlay.merged());
  overlay.unmount();
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(differences(theirs, contents(stack.mount_point())), "");
}

// An upper of overlayfs as a layer over the same lower, in the form of a directory (false) and of a layer file (true).
class OverlayfsUpper : public testing::TestWithParam<bool> {
 protected:
  void expect_the_same_in_varve(const KernelOverlay& overlay) {
    ScratchDirectory scratch;
    const std::string mount_point = scratch.path();
    std::string lower = overlay.lower();
    std::string upper = overlay.upper();
    if (GetParam()) {
      for (std::string* directory : {&lower, &upper}) {
        const std::string layer = *directory + ".layer";
        const ProgramResult built = run({program("imagetool"), "layer", "build", *directory, "-o", layer});
        ASSERT_EQ(built.exit_status, 0) << built.err;
        *directory = layer;
      }
    }
    ASSERT_EQ(run({program("varvefs"), "-o", "lowerdir=" + upper + ":" + lower, mount_point}).err, "");
    EXPECT_EQ(differences(contents(overlay.merged()), contents(mount_point)), "");
    EXPECT_EQ(run({"umount", mount_point}).exit_status, 0);
  }
};
INSTANTIATE_TEST_SUITE_P(As, OverlayfsUpper, testing::Bool(), lower_kind_name);

TEST_P(OverlayfsUpper, ShowsWhatOverlayfsShowed) {
  KernelOverlay overlay;
  fill_lower(overlay.lower());
  ASSERT_TRUE(overlay.mount(overlay.lower(), overlay.upper()));
  change_without_redirects(overlay.merged());
  expect_the_same_in_varve(overlay);
}

TEST_P(OverlayfsUpper, ShowsMovedDirectoriesWhereTheyWereMoved) {
  VARVE_NEEDS(kRootOfHost);  // overlayfs writes redirects in trusted xattrs only
  KernelOverlay overlay(",redirect_dir=on,metacopy=off");
  fill_lower(overlay.lower());
  write_file(overlay.lower() + "/outer/middle/inner/f", "deep");
  ASSERT_TRUE(overlay.mount(overlay.lower(), overlay.upper()));
  const auto move = [&overlay](const char* from, const char* to) {
    ASSERT_EQ(outcome(::rename(overlay.merged(from).c_str(), overlay.merged(to).c_str())), "ok") << from;
  };
  move("d/sub", "d/renamed");  // within its parent: a redirect by name
  move("anew", "d/moved");     // to another: by path
  move("outer", "outside");    // and one within the other
  move("outside/middle/inner", "outside/middle/core");
  move("outside/middle", "became-file/central");
  write_file(overlay.merged("outside/middle/new"), "new");
  write_file(overlay.merged("anew/other"), "another directory of that name");
  expect_the_same_in_varve(overlay);
}

// The marks of fuse-overlayfs and of OCI unpackers, and overlayfs's own for ordinary users.
TEST(ForeignMarks, HideWhatTheyHide) {
  MountedStack stack(StackShape{.lowers = 2});
  for (const char* name : {"by-xattr", "by-file", "opaque-1/x", "opaque-2/x", "opaque-3/x", "kept/x"})
    write_file(stack.lower(1, name), "below");
  write_file(stack.lower(0, "by-xattr"), "");
  write_file(stack.lower(0, ".wh.by-file"), "");
  for (const char* name : {"opaque-1/y", "opaque-2/y", "opaque-3/y", "kept/y"})
    write_file(stack.lower(0, name), "above");
  const auto mark = [&stack](const char* name, const char* xattr, const char* value) {
    ASSERT_EQ(outcome(::setxattr(stack.lower(0, name).c_str(), xattr, value, std::string(value).size(), 0)),
              "ok");
  };
  mark("by-xattr", "user.overlay.whiteout", "y");
  mark("", "user.overlay.opaque", "x");
  mark("opaque-1", "user.overlay.opaque", "y");
  mark("opaque-2", "user.fuseoverlayfs.opaque", "y");
  write_file(stack.lower(0, "opaque-3/.wh..wh..opq"), "");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(names_in(stack.mount_point()), (Names{"kept", "opaque-1", "opaque-2", "opaque-3"}));
  for (const char* name : {"opaque-1", "opaque-2", "opaque-3"})
    EXPECT_EQ(names_in(stack.at(name)), Names{"y"}) << name;
  EXPECT_EQ(names_in(stack.at("kept")), (Names{"x", "y"}));
  EXPECT_EQ(::listxattr(stack.at("opaque-1").c_str(), nullptr, 0), 0) << "marks are not shown";
}

// Lowers on two file systems and an upper on a third.
class FileSystems : public testing::Test {
 protected:
  SmallDisk lower_disk{2000};
  SmallDisk upper_disk{2000};
  MountedStack stack{StackShape{
      .lowers = 1, .options = "lowerlist=" + lower_disk.path() + "/list", .writable = upper_disk.path()}};
  void SetUp() override {
    write_file(lower_disk.path() + "/list", lower_disk.path() + "/lower\n");
    for (const char* name : {"one", "two", "d/three", "d/sub/four"}) {
      write_file(lower_disk.path() + "/lower/" + name, "on the disk");
      write_file(stack.lower(0, std::string(name) + "-0"), "in the scratch directory");
    }
    ASSERT_TRUE(stack.mount());
  }
  // Path and inode number of all, which must agree with the listing, and differ.
  std::map<std::string, ino_t> numbers() {
    std::map<std::string, ino_t> all;
    std::set<ino_t> seen;
    const dev_t device = stat_of(stack.mount_point()).st_dev;
    for (const auto& [path, line] : snapshot(stack.mount_point())) {
      const struct stat status = stat_of(stack.at(path));
      EXPECT_EQ(status.st_dev, device) << path;
      EXPECT_TRUE(seen.insert(status.st_ino).second) << path << " has the number of another";
      all[path] = status.st_ino;
      if (S_ISDIR(status.st_mode)) expect_listed_numbers(stack.at(path));
    }
    return all;
  }
  static void expect_listed_numbers(const std::string& directory) {
    DIR* stream = ::opendir(directory.c_str());
    ASSERT_NE(stream, nullptr);
    while (const struct dirent* entry = ::readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "..") {
        EXPECT_EQ(entry->d_ino, stat_of(directory + "/" + name).st_ino) << name;
      }
    }
    ::closedir(stream);
  }
};

TEST_F(FileSystems, OfAnyNumberAreOneDeviceWithLastingNumbers) {
  const std::map<std::string, ino_t> before = numbers();
  EXPECT_EQ(before.size(), 11U);
  for (const char* name : {"one", "one-0", "d/three", "d/sub/four-0"}) write_at(stack.at(name), 0, "changed");
  EXPECT_EQ(numbers(), before) << "after copy-up";
  ASSERT_TRUE(stack.remount());
  EXPECT_EQ(numbers(), before) << "after a remount";
  ASSERT_EQ(outcome(::rename(stack.at("d").c_str(), stack.at("e").c_str())), "ok");
  ASSERT_EQ(outcome(::rename(stack.at("two").c_str(), stack.at("e/two").c_str())), "ok");
  ASSERT_TRUE(stack.remount());
  const std::map<std::string, ino_t> after = numbers();
  EXPECT_EQ(after.at("/e/two"), before.at("/two"));
  EXPECT_EQ(after.at("/e/sub/four"), before.at("/d/sub/four"));
  EXPECT_EQ(after.at("/e/sub"), before.at("/d/sub"));
  EXPECT_EQ(after.at("/e"), before.at("/d"));
}

// As large as the kernel lets an xattr be, which a tmpfs can hold and ext4 cannot.
TEST_F(FileSystems, HoldXattrsOfAnySizeThatTheKernelTakes) {
  const std::string value = noise(XATTR_SIZE_MAX, 1);
  const std::string lower = lower_disk.path() + "/lower/one";
  if (::setxattr(lower.c_str(), "user.largest", value.data(), value.size(), 0) != 0)
    GTEST_SKIP() << "needs a tmpfs with user xattrs\n";
  ASSERT_EQ(outcome(::setxattr(stack.at("two").c_str(), "user.largest", value.data(), value.size(), 0)),
            "ok");
  write_at(stack.at("one"), 0, "copied up with it");
  ASSERT_TRUE(stack.remount());
  for (const char* name : {"one", "two"}) {
    std::string seen(XATTR_SIZE_MAX, '\0');
    EXPECT_EQ(::getxattr(stack.at(name).c_str(), "user.largest", seen.data(), seen.size()),
              ssize_t{XATTR_SIZE_MAX})
        << name;
    EXPECT_TRUE(seen == value) << name;
  }
}

// A squashfs has no access control lists; the mount says of a file there that it has none, as it says of any other.
TEST(LowerWithoutAccessLists, HasNoneUntilOneIsSet) {
  VARVE_NEEDS(kRootOfHost);
  ScratchDirectory scratch;
  write_file(scratch.path() + "/tree/d/f", "content");
  write_file(scratch.path() + "/tree/g", noise(300'000, 1));
  make_directories(scratch.path() + "/squash");
  if (run({"mksquashfs", scratch.path() + "/tree", scratch.path() + "/image", "-quiet"}).exit_status != 0)
    GTEST_SKIP() << "needs mksquashfs\n";
  if (run({"mount", "-t", "squashfs", "-o", "loop,ro", scratch.path() + "/image", scratch.path() + "/squash"})
          .exit_status != 0)
    GTEST_SKIP() << "needs loop devices and squashfs\n";
  {
    MountedStack stack(StackShape{.lowers = 1, .options = "lowerlist=" + scratch.path() + "/list"});
    write_file(scratch.path() + "/list", scratch.path() + "/squash\n");
    ASSERT_TRUE(stack.mount());
    char value[256];
    for (const char* name : {"d", "d/f"}) {
      for (const char* xattr : {"system.posix_acl_access", "system.posix_acl_default"}) {
        EXPECT_EQ(outcome(::getxattr(stack.at(name).c_str(), xattr, value, sizeof value)), "ENODATA")
            << name << xattr;
      }
    }
    EXPECT_EQ(::listxattr(stack.at("d/f").c_str(), value, sizeof value), 0);
    ASSERT_EQ(run({"setfacl", "-m", "u:54321:r--", stack.at("d/f")}).err, "");
    ASSERT_EQ(run({"setfacl", "-d", "-m", "u:54321:r--", stack.at("d")}).err, "");
    write_file(stack.at("d/new"), "inherits");
    write_at(stack.at("g"), 100'000, "changed");
    ASSERT_TRUE(stack.remount());
    for (const char* name : {"d/f", "d/new"}) {
      EXPECT_GT(::getxattr(stack.at(name).c_str(), "system.posix_acl_access", value, sizeof value), 0)
          << name;
    }
    EXPECT_EQ(read_at(stack.at("g"), 100'000, 7), "changed");
    EXPECT_EQ(read_file(stack.at("d/f")), "content");
  }
  EXPECT_EQ(run({"umount", scratch.path() + "/squash"}).exit_status, 0);
}

TEST(Upper, OnOverlayfsIsRefusedWithTheReason) {
  KernelOverlay overlay;
  ASSERT_TRUE(overlay.mount(overlay.lower(), overlay.upper()));
  for (const char* name : {"u", "w", "m"}) make_directories(overlay.merged(name));
  const ProgramResult refused =
      run({program("varvefs"), "-o", "upperdir=" + overlay.merged("u") + ",workdir=" + overlay.merged("w"),
           overlay.merged("m")});
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_THAT(refused.err,
              testing::HasSubstr(overlay.merged("u") + ": its file system refuses to make whiteouts"));
  EXPECT_EQ(names_in(overlay.merged("u")), Names());
}

}  // namespace
}  // namespace varve::test
