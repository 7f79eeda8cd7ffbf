// What names an object beside its path: the number of its links, and file handles (name_to_handle_at).

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

class LinkCount : public EverywhereTest {
 protected:
  nlink_t links(const std::string& path) { return stat_of(tree.at(path)).st_nlink; }
  std::string link(const std::string& from, const std::string& to) {
    return outcome(::link(tree.at(from).c_str(), tree.at(to).c_str()));
  }
  std::string unlink(const std::string& path) { return outcome(::unlink(tree.at(path).c_str())); }
  std::string rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return outcome(::renameat2(AT_FDCWD, tree.at(from).c_str(), AT_FDCWD, tree.at(to).c_str(), flags));
  }
};
VARVE_EVERYWHERE(LinkCount);

TEST_P(LinkCount, OfAnOpenFileFallsToZeroWithItsLastName) {
  write_file(tree.seed("unlinked"), "1");
  write_file(tree.seed("replaced"), "2");
  write_file(tree.seed("twice"), "3");
  ASSERT_EQ(outcome(::link(tree.seed("twice").c_str(), tree.seed("second").c_str())), "ok");
  write_file(tree.seed("other"), "4");
  ASSERT_TRUE(tree.begin());
  const UniqueFd unlinked = open_file(tree.at("unlinked"), O_RDONLY);
  const UniqueFd replaced = open_file(tree.at("replaced"), O_RDONLY);
  const UniqueFd twice = open_file(tree.at("twice"), O_RDONLY);
  EXPECT_EQ(unlink("unlinked"), "ok");
  EXPECT_EQ(stat_of(unlinked.get()).st_nlink, 0U);
  EXPECT_EQ(rename("other", "replaced"), "ok");
  EXPECT_EQ(stat_of(replaced.get()).st_nlink, 0U);
  EXPECT_EQ(links("replaced"), 1U);
  EXPECT_EQ(unlink("twice"), "ok");
  EXPECT_EQ(stat_of(twice.get()).st_nlink, 1U);
  EXPECT_EQ(rename("replaced", "second"), "ok");
  EXPECT_EQ(stat_of(twice.get()).st_nlink, 0U);
  EXPECT_EQ(read_at(unlinked.get(), 0, 9) + read_at(replaced.get(), 0, 9) + read_at(twice.get(), 0, 9),
            "123");
  // As ext4 has it: what lost its last name gets none again.
  EXPECT_EQ(outcome(::linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(unlinked.get())).c_str(), AT_FDCWD,
                             tree.at("again").c_str(), AT_SYMLINK_FOLLOW)),
            "ENOENT");
}

TEST_P(LinkCount, OfAnOpenDirectoryFallsToZero) {
  make_directories(tree.seed("removed"));
  make_directories(tree.seed("replaced"));
  make_directories(tree.seed("other"));
  ASSERT_TRUE(tree.begin());
  const UniqueFd removed = open_file(tree.at("removed"), O_RDONLY | O_DIRECTORY);
  const UniqueFd replaced = open_file(tree.at("replaced"), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(outcome(::rmdir(tree.at("removed").c_str())), "ok");
  EXPECT_EQ(stat_of(removed.get()).st_nlink, 0U);
  EXPECT_EQ(rename("other", "replaced"), "ok");
  EXPECT_EQ(stat_of(replaced.get()).st_nlink, 0U);
  EXPECT_EQ(links("replaced"), 2U);
}

TEST_P(LinkCount, OfAFileRenamedToItsOtherNameStays) {
  write_file(tree.seed("a"), "x");
  ASSERT_EQ(outcome(::link(tree.seed("a").c_str(), tree.seed("b").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(rename("a", "b"), "ok") << "does nothing, says POSIX";
  EXPECT_EQ(rename("a", "b", RENAME_NOREPLACE), "EEXIST");
  EXPECT_EQ(links("a"), 2U);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(links("b"), 2U);
}

// FIFOs and sockets everywhere, devices where they can be made.
class SpecialLinks : public LinkCount {
 protected:
  void seed(const std::string& name, mode_t mode, dev_t device) {
    ASSERT_EQ(outcome(::mknod(tree.seed(name).c_str(), mode | 0644, device)), "ok");
    ASSERT_EQ(outcome(::link(tree.seed(name).c_str(), tree.seed(name + "-2").c_str())), "ok");
    kinds.emplace_back(name, mode, device);
  }
  void expect_links(nlink_t count, const std::string& suffix) {
    for (const auto& [name, mode, device] : kinds) {
      const struct stat status = stat_of(tree.at(name + suffix));
      EXPECT_EQ(status.st_mode & S_IFMT, mode) << name;
      EXPECT_EQ(status.st_rdev, device) << name;
      EXPECT_EQ(status.st_nlink, count) << name;
      EXPECT_EQ(status.st_ino, stat_of(tree.at(name)).st_ino) << name;
    }
  }
  // Through a copy-up, a new name, a remount, and the loss of one.
  void change_all() {
    ASSERT_TRUE(tree.begin());
    expect_links(2, "-2");
    for (const auto& [name, mode, device] : kinds) {
      ASSERT_EQ(outcome(::chmod(tree.at(name).c_str(), 0600)), "ok") << name;
      EXPECT_EQ(stat_of(tree.at(name + "-2")).st_mode, mode | 0600U) << name;
      EXPECT_EQ(link(name + "-2", name + "-3"), "ok");
    }
    for (int round = 0; round < 2; ++round) {
      for (const char* suffix : {"", "-2", "-3"}) expect_links(3, suffix);
      ASSERT_TRUE(tree.again());
    }
    for (const auto& [name, mode, device] : kinds) EXPECT_EQ(unlink(name + "-2"), "ok");
    expect_links(2, "-3");
    ASSERT_TRUE(tree.again());
    expect_links(2, "-3");
  }
  std::vector<std::tuple<std::string, mode_t, dev_t>> kinds;
};
VARVE_EVERYWHERE(SpecialLinks);

TEST_P(SpecialLinks, OfFifosAndSocketsLast) {
  seed("fifo", S_IFIFO, 0);
  seed("socket", S_IFSOCK, 0);
  change_all();
}

TEST_P(SpecialLinks, OfDevicesLast) {
  VARVE_NEEDS(kRootOfHost);
  seed("character", S_IFCHR, makedev(1, 3));
  seed("block", S_IFBLK, makedev(259, 70'000));
  change_all();
}

TEST_P(LinkCount, OfSymbolicLinksLasts) {
  ASSERT_EQ(outcome(::symlink("target", tree.seed("a").c_str())), "ok");
  ASSERT_EQ(outcome(::link(tree.seed("a").c_str(), tree.seed("b").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(link("b", "c"), "ok");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"a", "b", "c"}) EXPECT_EQ(links(name), 3U) << name;
    ASSERT_TRUE(tree.again());
  }
}

// What name_to_handle_at(2) gives, and open_by_handle_at(2) takes.
struct Handle {
  std::vector<std::byte> bytes;
  int mount_id = -1;
  struct file_handle* get() {
    return reinterpret_cast<struct file_handle*>(bytes.data());
  }
};

class Handles : public EverywhereTest {
 protected:
  Handle handle_of(const std::string& path) {
    Handle handle{std::vector<std::byte>(sizeof(struct file_handle) + MAX_HANDLE_SZ)};
    handle.get()->handle_bytes = MAX_HANDLE_SZ;
    EXPECT_EQ(
        outcome(::name_to_handle_at(AT_FDCWD, tree.at(path).c_str(), handle.get(), &handle.mount_id, 0)),
        "ok")
        << path;
    return handle;
  }
  UniqueFd open_handle(Handle& handle, int flags) {
    const UniqueFd mount = open_file(tree.root(), O_RDONLY | O_DIRECTORY);
    return UniqueFd(::open_by_handle_at(mount.get(), handle.get(), flags | O_CLOEXEC));
  }
  ino_t inode(const std::string& path) { return stat_of(tree.at(path)).st_ino; }
};
VARVE_EVERYWHERE(Handles);

TEST_P(Handles, NeedRoomAndSayHowMuch) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  struct file_handle none {};
  int mount_id = 0;
  EXPECT_EQ(outcome(::name_to_handle_at(AT_FDCWD, tree.at("f").c_str(), &none, &mount_id, 0)), "EOVERFLOW");
  EXPECT_GE(none.handle_bytes, 8U);
  EXPECT_EQ(outcome(::name_to_handle_at(AT_FDCWD, tree.at("absent").c_str(), &none, &mount_id, 0)), "ENOENT");
}

TEST_P(Handles, OpenObjectsOfEveryKind) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("d/f"), "content");
  ASSERT_EQ(outcome(::symlink("f", tree.seed("d/link").c_str())), "ok");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("d/fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  for (const char* name : {"", "d", "d/f", "d/link", "d/fifo"}) {
    const UniqueFd held = open_file(tree.at(name), O_PATH | O_NOFOLLOW);
    Handle handle = handle_of(name);
    const UniqueFd opened = open_handle(handle, O_PATH | O_NOFOLLOW);
    ASSERT_TRUE(opened.valid()) << name << ": " << outcome(-1);
    EXPECT_EQ(stat_of(opened.get()).st_ino, inode(name)) << name;
    EXPECT_EQ(stat_of(opened.get()).st_mode, stat_of(held.get()).st_mode) << name;
  }
  Handle file = handle_of("d/f");
  EXPECT_EQ(read_at(open_handle(file, O_RDONLY).get(), 0, 100), "content");
}

TEST_P(Handles, FollowTheFileThroughCopyUpAndRename) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("f"), "content");
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  const UniqueFd held = open_file(tree.at("f"), O_PATH);
  Handle handle = handle_of("f");
  write_at(tree.at("f"), 0, "C");
  EXPECT_EQ(read_at(open_handle(handle, O_RDONLY).get(), 0, 100), "Content");
  ASSERT_EQ(outcome(::rename(tree.at("f").c_str(), tree.at("d/moved").c_str())), "ok");
  const UniqueFd writer = open_handle(handle, O_RDWR);
  ASSERT_TRUE(writer.valid()) << outcome(-1);
  EXPECT_EQ(::pwrite(writer.get(), "CON", 3, 0), 3);
  EXPECT_EQ(read_file(tree.at("d/moved")), "CONtent");
}

TEST_P(Handles, OfWhatIsGoneAreStale) {
  VARVE_NEEDS(kRootOfHost);
  write_file(tree.seed("f"), "content");
  write_file(tree.seed("open"), "content");
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  const UniqueFd still_open = open_file(tree.at("open"), O_RDONLY);
  std::vector<Handle> handles = {handle_of("f"), handle_of("d")};
  Handle of_open = handle_of("open");
  ASSERT_EQ(outcome(::unlink(tree.at("f").c_str())), "ok");
  ASSERT_EQ(outcome(::rmdir(tree.at("d").c_str())), "ok");
  ASSERT_EQ(outcome(::unlink(tree.at("open").c_str())), "ok");
  for (const char* name : {"f", "g", "open"}) write_file(tree.at(name), "a new file");
  for (Handle& handle : handles) {
    const UniqueFd opened = open_handle(handle, O_RDONLY);
    EXPECT_FALSE(opened.valid());
    EXPECT_STREQ(strerrorname_np(errno), "ESTALE");
  }
  EXPECT_EQ(read_at(open_handle(of_open, O_RDONLY).get(), 0, 100), "content");
}

// Once the kernel has forgotten the inode (docs/semantics.md, "Metadata"): the object, or ESTALE, and never another object.
TEST_P(Handles, OfWhatTheKernelForgotAreRightOrStale) {
  VARVE_NEEDS(kRootOfHost);
  for (const char* name : {"a", "b", "d/c"}) write_file(tree.seed(name), name);
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("b"), 0, "b");
  const std::vector<const char*> names = {"a", "b", "d/c"};
  std::vector<Handle> handles;
  for (const char* name : names) handles.push_back(handle_of(name));
  const UniqueFd caches(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!caches.valid() || ::write(caches.get(), "2", 1) != 1)
    GTEST_SKIP() << "needs /proc/sys/vm/drop_caches\n";
  for (std::size_t i = 0; i < names.size(); ++i) {
    const UniqueFd opened = open_handle(handles[i], O_RDONLY);
    if (opened.valid()) {
      EXPECT_EQ(read_at(opened.get(), 0, 10), names[i]);
    } else {
      EXPECT_STREQ(strerrorname_np(errno), "ESTALE");
      EXPECT_NE(GetParam(), Place::kNative);
    }
    EXPECT_EQ(read_file(tree.at(names[i])), names[i]);
  }
}

}  // namespace
}  // namespace varve::test
