// Names as long as they may be, and one byte longer, in every call that takes one; paths that are longer than PATH_MAX.

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <climits>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

struct Call {
  const char* what;
  std::function<long(const char*)> make;
};

long close_if_open(int fd) {
  return fd < 0 ? fd : ::close(fd);
}

// Calls that look a name up, and find none.
std::vector<Call> looking_calls(const std::string& other) {
  return {
      {"open", [](const char* path) { return close_if_open(::open(path, O_RDONLY)); }},
      {"open O_PATH", [](const char* path) { return close_if_open(::open(path, O_PATH | O_NOFOLLOW)); }},
      {"open O_TRUNC", [](const char* path) { return close_if_open(::open(path, O_WRONLY | O_TRUNC)); }},
      {"stat",
       [](const char* path) {
         struct stat status;
         return long{::stat(path, &status)};
       }},
      {"lstat",
       [](const char* path) {
         struct stat status;
         return long{::lstat(path, &status)};
       }},
      {"access", [](const char* path) { return long{::access(path, F_OK)}; }},
      {"statfs",
       [](const char* path) {
         struct statfs status;
         return long{::statfs(path, &status)};
       }},
      {"readlink",
       [](const char* path) {
         char target[8];
         return long{::readlink(path, target, sizeof target)};
       }},
      {"chmod", [](const char* path) { return long{::chmod(path, 0600)}; }},
      {"lchown", [](const char* path) { return long{::lchown(path, 0, 0)}; }},
      {"truncate", [](const char* path) { return long{::truncate(path, 0)}; }},
      {"utimensat", [](const char* path) { return long{::utimensat(AT_FDCWD, path, nullptr, 0)}; }},
      {"setxattr", [](const char* path) { return long{::setxattr(path, "user.x", "y", 1, 0)}; }},
      {"getxattr",
       [](const char* path) {
         char value[8];
         return long{::getxattr(path, "user.x", value, sizeof value)};
       }},
      {"listxattr",
       [](const char* path) {
         char list[8];
         return long{::listxattr(path, list, sizeof list)};
       }},
      {"removexattr", [](const char* path) { return long{::removexattr(path, "user.x")}; }},
      {"chdir", [](const char* path) { return long{::chdir(path)}; }},
      {"unlink", [](const char* path) { return long{::unlink(path)}; }},
      {"rmdir", [](const char* path) { return long{::rmdir(path)}; }},
      {"link from", [other](const char* path) { return long{::link(path, other.c_str())}; }},
      {"rename from", [other](const char* path) { return long{::rename(path, other.c_str())}; }},
      {"lookup below",
       [](const char* path) { return long{::access((std::string(path) + "/x").c_str(), F_OK)}; }},
      {"mkdir below",
       [](const char* path) { return long{::mkdir((std::string(path) + "/x").c_str(), 0755)}; }},
  };
}

// Calls that make a name. `file` is there, and is moved or linked.
std::vector<Call> making_calls(const std::string& file) {
  return {
      {"creat", [](const char* path) { return close_if_open(::open(path, O_CREAT | O_WRONLY, 0644)); }},
      {"creat O_EXCL",
       [](const char* path) { return close_if_open(::open(path, O_CREAT | O_EXCL | O_RDWR, 0644)); }},
      {"mkdir", [](const char* path) { return long{::mkdir(path, 0755)}; }},
      {"mknod of a file", [](const char* path) { return long{::mknod(path, S_IFREG | 0600, 0)}; }},
      {"mkfifo", [](const char* path) { return long{::mkfifo(path, 0600)}; }},
      {"symlink", [](const char* path) { return long{::symlink("target", path)}; }},
      {"link to", [file](const char* path) { return long{::link(file.c_str(), path)}; }},
      {"rename to", [file](const char* path) { return long{::rename(file.c_str(), path)}; }},
      {"rename to, RENAME_NOREPLACE",
       [file](const char* path) {
         return long{::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, path, RENAME_NOREPLACE)};
       }},
  };
}

class LongNames : public EverywhereTest {};
VARVE_EVERYWHERE(LongNames);

TEST_P(LongNames, AreRefusedByEveryCallFromTheirFirstByteTooMany) {
  write_file(tree.seed("d/file"), "content");
  ASSERT_TRUE(tree.begin());
  const std::string longest = tree.at("d/" + std::string(NAME_MAX, 'n'));
  const std::string too_long = longest + "n";
  for (const Call& call : looking_calls(tree.at("d/other"))) {
    EXPECT_EQ(outcome(call.make(longest.c_str())), "ENOENT") << call.what;
    EXPECT_EQ(outcome(call.make(too_long.c_str())), "ENAMETOOLONG") << call.what;
  }
  for (const Call& call : making_calls(tree.at("d/file"))) {
    EXPECT_EQ(outcome(call.make(too_long.c_str())), "ENAMETOOLONG") << call.what;
  }
  EXPECT_EQ(names_in(tree.at("d")), std::vector<std::string>{"file"});
  EXPECT_EQ(read_file(tree.at("d/file")), "content");
}

TEST_P(LongNames, AreMadeByEveryCallUpToTheirLastByte) {
  write_file(tree.seed("d/file"), "content");
  ASSERT_TRUE(tree.begin());
  char letter = 'a';
  std::vector<std::string> expected;
  for (const Call& call : making_calls(tree.at("d/file"))) {
    if (!exists(tree.at("d/file"))) write_file(tree.at("d/file"), "again");
    expected.emplace_back(NAME_MAX, letter++);
    EXPECT_EQ(outcome(call.make(tree.at("d/" + expected.back()).c_str())), "ok") << call.what;
  }
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(names_in(tree.at("d")), expected);
    ASSERT_TRUE(tree.again());
  }
  EXPECT_EQ(run({"rm", "-r", tree.at("d")}).err, "");
}

TEST_P(LongNames, ThatWereThereAreChangedMovedAndRemoved) {
  const std::string longest(NAME_MAX, 'n');
  write_file(tree.seed("d/" + longest), "content");
  write_file(tree.seed(longest + "/" + longest), "below");
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("d/" + longest), 0, "C");
  ASSERT_EQ(outcome(::rename(tree.at(longest).c_str(), tree.at("d/" + std::string(NAME_MAX, 'm')).c_str())),
            "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("d/" + longest)), "Content");
  EXPECT_EQ(read_file(tree.at("d/" + std::string(NAME_MAX, 'm') + "/" + longest)), "below");
  ASSERT_EQ(run({"rm", "-r", tree.at("d")}).err, "");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.root()), std::vector<std::string>{});
}

TEST_P(LongNames, OfSymbolicLinksTargetsAreKeptWhole) {
  const std::string target(PATH_MAX - 1, 't');
  ASSERT_EQ(outcome(::symlink(target.c_str(), tree.seed("old").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(outcome(::symlink(target.c_str(), tree.at("new").c_str())), "ok");
  EXPECT_EQ(outcome(::symlink((target + "t").c_str(), tree.at("longer").c_str())), "ENAMETOOLONG");
  EXPECT_EQ(outcome(::rename(tree.at("old").c_str(), tree.at("moved").c_str())), "ok");
  ASSERT_TRUE(tree.again());
  for (const char* name : {"new", "moved"}) {
    std::vector<char> read(PATH_MAX + 1);
    ASSERT_EQ(::readlink(tree.at(name).c_str(), read.data(), read.size()), PATH_MAX - 1) << name;
    EXPECT_EQ(std::string(read.data(), target.size()), target) << name;
  }
}

// A chain of directories, one in the other, whose path is twice as long as a call may be given.
constexpr int kLevels = 42;
const std::string kLevel(199, 'l');
static_assert(kLevels * 200 > 2 * PATH_MAX);

// The directory `levels` below `top`, made on the way if asked. Invalid where there is none.
UniqueFd level_below(int top, int levels, bool make = false) {
  UniqueFd at(::fcntl(top, F_DUPFD_CLOEXEC, 0));
  for (int i = 0; i < levels && at.valid(); ++i) {
    if (make && ::mkdirat(at.get(), kLevel.c_str(), 0755) != 0) return {};
    at = UniqueFd(::openat(at.get(), kLevel.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  return at;
}

std::string content_of(int directory, const char* name) {
  const UniqueFd file(::openat(directory, name, O_RDONLY | O_CLOEXEC));
  return file.valid() ? read_at(file.get(), 0, 100) : "<" + outcome(-1) + ">";
}

void create_in(int directory, const char* name, std::string_view content) {
  const UniqueFd file(::openat(directory, name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644));
  ASSERT_EQ(::pwrite(file.get(), content.data(), content.size(), 0), static_cast<ssize_t>(content.size()))
      << outcome(-1);
}

UniqueFd open_directory(const std::string& path) {
  return open_file(path, O_RDONLY | O_DIRECTORY);
}

// How far down a directory of a layer can be moved: its path in the layer must fit an xattr of the file system below.
constexpr int kMovable = 18;
static_assert(kMovable * 200 < 3900);

// Changes the tree below root/deep by *at calls, moves its lower half to root/short, and removes all of it. `again` is called
// between, with nothing open.
void change_deep_tree(const std::string& root, const std::function<void()>& again) {
  {
    const UniqueFd bottom = level_below(open_directory(root + "/deep").get(), kLevels);
    ASSERT_TRUE(bottom.valid()) << outcome(-1);
    EXPECT_EQ(content_of(bottom.get(), "file"), "at the bottom");
    create_in(bottom.get(), "file", "changed");
    create_in(bottom.get(), "new", "new");
    EXPECT_EQ(outcome(::fchmodat(bottom.get(), "file", 0600, 0)), "ok");
    EXPECT_EQ(outcome(::linkat(bottom.get(), "file", bottom.get(), "linked", 0)), "ok");
    EXPECT_EQ(outcome(::symlinkat("file", bottom.get(), "symbolic")), "ok");
    EXPECT_EQ(outcome(::mkdirat(bottom.get(), "sub", 0755)), "ok");
    EXPECT_EQ(outcome(::renameat(bottom.get(), "new", bottom.get(), "sub/renamed")), "ok");
  }
  again();
  {
    const UniqueFd top = open_directory(root);
    const UniqueFd middle = level_below(open_directory(root + "/deep").get(), kMovable);
    ASSERT_TRUE(middle.valid()) << outcome(-1);
    ASSERT_EQ(outcome(::renameat(middle.get(), kLevel.c_str(), top.get(), "short")), "ok");
    EXPECT_EQ(names_in("/proc/self/fd/" + std::to_string(middle.get())), std::vector<std::string>{});
  }
  again();
  {
    const UniqueFd bottom = level_below(open_directory(root + "/short").get(), kLevels - kMovable - 1);
    ASSERT_TRUE(bottom.valid()) << outcome(-1);
    EXPECT_EQ(content_of(bottom.get(), "file"), "changed");
    EXPECT_EQ(content_of(bottom.get(), "sub/renamed"), "new");
    EXPECT_EQ(names_in("/proc/self/fd/" + std::to_string(bottom.get())),
              (std::vector<std::string>{"file", "linked", "sub", "symbolic"}));
    struct stat status {};
    EXPECT_EQ(outcome(::fstatat(bottom.get(), "linked", &status, 0)), "ok");
    EXPECT_EQ(status.st_nlink, 2U);
    EXPECT_EQ(status.st_mode, S_IFREG | 0600U);
  }
  EXPECT_EQ(run({"rm", "-r", root + "/deep", root + "/short"}).err, "");
  again();
  EXPECT_EQ(names_in(root), std::vector<std::string>{});
}

TEST_P(LongNames, OfManyDirectoriesMakePathsOfAnyLength) {
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::mkdir(tree.at("deep").c_str(), 0755)), "ok");
  {
    const UniqueFd bottom = level_below(open_directory(tree.at("deep")).get(), kLevels, true);
    ASSERT_TRUE(bottom.valid()) << outcome(-1);
    create_in(bottom.get(), "file", "at the bottom");
  }
  change_deep_tree(tree.root(), [this] { ASSERT_TRUE(tree.again()); });
}

class DeepLayer : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    make_directories(stack.lower(0, "deep"));
    const UniqueFd bottom = level_below(open_directory(stack.lower(0, "deep")).get(), kLevels, true);
    ASSERT_TRUE(bottom.valid()) << outcome(-1);
    create_in(bottom.get(), "file", "at the bottom");
    ASSERT_TRUE(stack.mount());
  }
  // More than the scratch directory's own removal can.
  void TearDown() override {
    EXPECT_TRUE(stack.unmount());
    EXPECT_EQ(run({"rm", "-rf", stack.lower(0, "deep"), stack.upper()}).err, "");
  }
  MountedStack stack{StackShape{.lowers = 1, .layer_files = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Of, DeepLayer, testing::Bool(), lower_kind_name);

TEST_P(DeepLayer, IsChangedMovedAndRemoved) {
  change_deep_tree(stack.mount_point(), [this] { ASSERT_TRUE(stack.remount()); });
}

// docs/semantics.md, "Directories": as between two file systems, which mv knows how to deal with.
TEST_P(DeepLayer, IsNotMovedFromWhereItsPathFitsNoXattr) {
  const UniqueFd top = open_directory(stack.mount_point());
  const UniqueFd low = level_below(open_directory(stack.at("deep")).get(), kLevels - 1);
  ASSERT_TRUE(low.valid()) << outcome(-1);
  EXPECT_EQ(outcome(::renameat(low.get(), kLevel.c_str(), top.get(), "short")), "EXDEV");
  EXPECT_FALSE(exists(stack.at("short")));
  const UniqueFd bottom = level_below(low.get(), 1);
  ASSERT_TRUE(bottom.valid()) << outcome(-1);
  EXPECT_EQ(content_of(bottom.get(), "file"), "at the bottom");
}

class WrongCalls : public EverywhereTest {
 protected:
  std::string open_flags(const std::string& name, int flags) {
    return outcome(close_if_open(::open(tree.at(name).c_str(), flags | O_CLOEXEC, 0644)));
  }
  std::string rename(const std::string& from, const std::string& to) {
    return outcome(::rename(tree.at(from).c_str(), tree.at(to).c_str()));
  }
};
VARVE_EVERYWHERE(WrongCalls);

TEST_P(WrongCalls, AreToldWhatIsWrongWithThem) {
  write_file(tree.seed("file"), "content");
  write_file(tree.seed("d/sub/f"), "content");
  for (const auto& [target, name] :
       {std::pair{"loop-2", "loop"}, {"loop", "loop-2"}, {"absent", "dangling"}, {"d", "to-d"}})
    ASSERT_EQ(outcome(::symlink(target, tree.seed(name).c_str())), "ok");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  const Snapshot before = snapshot(tree.root());
  EXPECT_EQ(open_flags("file/x", O_RDONLY), "ENOTDIR");
  EXPECT_EQ(open_flags("file/x", O_CREAT | O_RDWR), "ENOTDIR");
  EXPECT_EQ(open_flags("file", O_RDONLY | O_DIRECTORY), "ENOTDIR");
  EXPECT_EQ(open_flags("d", O_RDWR), "EISDIR");
  EXPECT_EQ(open_flags("d", O_CREAT | O_RDONLY), "EISDIR");
  EXPECT_EQ(open_flags("loop", O_RDONLY), "ELOOP");
  EXPECT_EQ(open_flags("loop/x", O_RDONLY), "ELOOP");
  EXPECT_EQ(open_flags("dangling", O_RDONLY), "ENOENT");
  EXPECT_EQ(open_flags("dangling", O_CREAT | O_EXCL | O_RDWR), "EEXIST");
  EXPECT_EQ(open_flags("to-d", O_RDONLY | O_NOFOLLOW), "ELOOP");
  EXPECT_EQ(open_flags("to-d", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), "ENOTDIR");
  EXPECT_EQ(open_flags("fifo", O_WRONLY | O_NONBLOCK), "ENXIO");
  EXPECT_EQ(outcome(::mkdir(tree.at("dangling").c_str(), 0755)), "EEXIST");
  EXPECT_EQ(outcome(::mkdir(tree.at("file/x").c_str(), 0755)), "ENOTDIR");
  EXPECT_EQ(outcome(::rmdir(tree.at("d/sub/.").c_str())), "EINVAL");
  EXPECT_EQ(outcome(::rmdir(tree.at("d/sub/..").c_str())), "ENOTEMPTY");
  EXPECT_EQ(outcome(::rmdir(tree.at("to-d").c_str())), "ENOTDIR");
  EXPECT_EQ(outcome(::unlink(tree.at("d").c_str())), "EISDIR");
  EXPECT_EQ(outcome(::unlink(tree.at("file/").c_str())), "ENOTDIR");
  EXPECT_EQ(outcome(::symlink("", tree.at("new").c_str())), "ENOENT");
  EXPECT_EQ(outcome(::symlink("x", tree.at("file").c_str())), "EEXIST");
  EXPECT_EQ(outcome(::link(tree.at("d").c_str(), tree.at("new").c_str())), "EPERM");
  EXPECT_EQ(outcome(::link(tree.at("file").c_str(), tree.at("d").c_str())), "EEXIST");
  EXPECT_EQ(outcome(::truncate(tree.at("d").c_str(), 0)), "EISDIR");
  EXPECT_EQ(outcome(::truncate(tree.at("fifo").c_str(), 0)), "EINVAL");
  EXPECT_EQ(outcome(::truncate(tree.at("file").c_str(), -1)), "EINVAL");
  EXPECT_EQ(rename("d", "d/sub/inside"), "EINVAL");
  EXPECT_EQ(rename("file", "d"), "EISDIR");
  EXPECT_EQ(rename("d/sub", "file"), "ENOTDIR");
  EXPECT_EQ(rename("d/sub/f", "d/sub"), "ENOTEMPTY");
  EXPECT_EQ(rename("d/.", "new"), "EBUSY");
  EXPECT_EQ(rename("file", "d/.."), "EBUSY");
  EXPECT_EQ(rename("file", "new/"), "ENOTDIR");
  EXPECT_EQ(rename("d/sub", "d"), "ENOTEMPTY");
  char byte = 'x';
  EXPECT_EQ(outcome(::read(open_directory(tree.at("d")).get(), &byte, 1)), "EISDIR");
  EXPECT_EQ(outcome(::write(open_file(tree.at("file"), O_RDONLY).get(), &byte, 1)), "EBADF");
  EXPECT_EQ(outcome(::lseek(open_file(tree.at("file"), O_RDONLY).get(), -1, SEEK_SET)), "EINVAL");
  EXPECT_EQ(outcome(::lseek(open_file(tree.at("file"), O_RDONLY).get(), 8, SEEK_DATA)), "ENXIO");
  EXPECT_EQ(differences(before, snapshot(tree.root())), "") << "and change nothing";
}

}  // namespace
}  // namespace varve::test
