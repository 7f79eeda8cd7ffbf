// Files seen through the mount and natively: one coherent file from first look-up to last close
// (docs/semantics.md).

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

class Files : public EverywhereTest {};
VARVE_EVERYWHERE(Files);

TEST_P(Files, ReadWhatWasThere) {
  std::string big = noise(300'000, 1);
  write_file(tree.seed("empty"), "");
  write_file(tree.seed("small"), "hello\n");
  write_file(tree.seed("d/big"), big);
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(read_file(tree.at("empty")), "");
  EXPECT_EQ(read_file(tree.at("small")), "hello\n");
  EXPECT_EQ(read_file(tree.at("d/big")), big);
  EXPECT_EQ(read_at(tree.at("d/big"), 65'530, 12), big.substr(65'530, 12));
  EXPECT_EQ(read_at(tree.at("d/big"), 299'990, 100), big.substr(299'990));
  EXPECT_EQ(read_file(tree.at("absent")), "<ENOENT>");
}

TEST_P(Files, OverwrittenInTheMiddleKeepTheRest) {
  std::string content = noise(100'000, 2);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  write_at(tree.at("f"), 50'001, "changed");
  content.replace(50'001, 7, "changed");
  EXPECT_EQ(read_file(tree.at("f")), content);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), content);
}

TEST_P(Files, CreatedExclusivelyOnlyOnce) {
  write_file(tree.seed("there"), "x");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(outcome(::open(tree.at("there").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644)), "EEXIST");
  UniqueFd fd(::open(tree.at("new").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0640));
  EXPECT_TRUE(fd.valid());
  EXPECT_EQ(stat_of(tree.at("new")).st_mode, S_IFREG | 0640U);
  EXPECT_EQ(outcome(::open(tree.at("new").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644)), "EEXIST");
}

TEST_P(Files, AreEmptyAfterOpenWithTruncation) {
  write_file(tree.seed("f"), "a long text");
  ASSERT_TRUE(tree.begin());
  write_file(tree.at("f"), "short");
  EXPECT_EQ(read_file(tree.at("f")), "short");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), "short");
}

TEST_P(Files, AppendedByTwoWritersLoseNothing) {
  write_file(tree.seed("log"), "begin\n");
  ASSERT_TRUE(tree.begin());
  UniqueFd a = open_file(tree.at("log"), O_WRONLY | O_APPEND);
  UniqueFd b = open_file(tree.at("log"), O_WRONLY | O_APPEND);
  std::string expected = "begin\n";
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(::write(a.get(), "aa\n", 3), 3);
    EXPECT_EQ(::write(b.get(), "bbb\n", 4), 4);
    expected += "aa\nbbb\n";
  }
  EXPECT_EQ(read_file(tree.at("log")), expected);
}

TEST_P(Files, OpenedForReadingBeforeTheFirstWriteShowIt) {
  write_file(tree.seed("f"), "before and after");
  ASSERT_TRUE(tree.begin());
  UniqueFd reader = open_file(tree.at("f"), O_RDONLY);
  EXPECT_EQ(read_at(reader.get(), 0, 6), "before");
  write_at(tree.at("f"), 0, "BEFORE");
  EXPECT_EQ(read_at(reader.get(), 0, 100), "BEFORE and after");
  EXPECT_EQ(stat_of(reader.get()).st_ino, stat_of(tree.at("f")).st_ino);
}

TEST_P(Files, MappedBeforeTheFirstWriteShowIt) {
  write_file(tree.seed("f"), std::string(8192, 'a'));
  ASSERT_TRUE(tree.begin());
  UniqueFd reader = open_file(tree.at("f"), O_RDONLY);
  auto* seen = static_cast<char*>(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, reader.get(), 0));
  ASSERT_NE(seen, MAP_FAILED);
  EXPECT_EQ(seen[5000], 'a');
  write_at(tree.at("f"), 5000, "Z");
  EXPECT_EQ(seen[5000], 'Z');
  ::munmap(seen, 8192);
}

TEST_P(Files, WrittenThroughASharedMappingKeepIt) {
  std::string content = noise(40'000, 3);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  {
    UniqueFd fd = open_file(tree.at("f"), O_RDWR);
    auto* mapped =
        static_cast<char*>(::mmap(nullptr, 40'000, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    ASSERT_NE(mapped, MAP_FAILED);
    mapped[20'000] = 'M';
    mapped[39'999] = 'E';
    EXPECT_EQ(outcome(::msync(mapped, 40'000, MS_SYNC)), "ok");
    ::munmap(mapped, 40'000);
  }
  content[20'000] = 'M';
  content[39'999] = 'E';
  EXPECT_EQ(read_file(tree.at("f")), content);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), content);
}

TEST_P(Files, MappedPrivatelyStayAsTheyAre) {
  write_file(tree.seed("f"), std::string(4096, 'a'));
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDONLY);
  auto* mapped = static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  mapped[0] = 'b';
  EXPECT_EQ(read_at(tree.at("f"), 0, 1), "a");
  ::munmap(mapped, 4096);
}

TEST_P(Files, UnlinkedWhileOpenStayUsable) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDWR);
  ASSERT_EQ(outcome(::unlink(tree.at("f").c_str())), "ok");
  EXPECT_EQ(read_file(tree.at("f")), "<ENOENT>");
  EXPECT_EQ(stat_of(fd.get()).st_nlink, 0U);
  EXPECT_EQ(read_at(fd.get(), 0, 100), "content");
  EXPECT_EQ(::pwrite(fd.get(), "C", 1, 0), 1);
  EXPECT_EQ(read_at(fd.get(), 0, 100), "Content");
  EXPECT_EQ(outcome(::ftruncate(fd.get(), 3)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_size, 3);
}

TEST_P(Files, UnlinkedWhileOpenForReadingTakeNewAttributes) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  UniqueFd fd = open_file(tree.at("f"), O_RDONLY);
  ASSERT_EQ(outcome(::unlink(tree.at("f").c_str())), "ok");
  EXPECT_EQ(outcome(::fchmod(fd.get(), 0600)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_mode & 07777U, 0600U);
  struct timespec times[2] = {{1000, 1}, {2000, 2}};
  EXPECT_EQ(outcome(::futimens(fd.get(), times)), "ok");
  EXPECT_EQ(stat_of(fd.get()).st_mtim.tv_sec, 2000);
  EXPECT_EQ(outcome(::fsetxattr(fd.get(), "user.mark", "v", 1, 0)), "ok");
  char value[8] = {};
  EXPECT_EQ(::fgetxattr(fd.get(), "user.mark", value, sizeof value), 1);
  EXPECT_EQ(read_at(fd.get(), 0, 100), "content");
}

TEST_P(Files, RemovedAndMadeAnewAreNewObjects) {
  write_file(tree.seed("f"), "old content that is long");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::unlink(tree.at("f").c_str())), "ok");
  EXPECT_FALSE(exists(tree.at("f")));
  write_file(tree.at("f"), "new");
  EXPECT_EQ(read_file(tree.at("f")), "new");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("f")), "new");
  ASSERT_EQ(outcome(::unlink(tree.at("f").c_str())), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_FALSE(exists(tree.at("f")));
}

TEST_P(Files, RenamedKeepContentAndIdentity) {
  write_file(tree.seed("a"), "content of a");
  write_file(tree.seed("b"), "content of b");
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  ino_t before = stat_of(tree.at("a")).st_ino;
  UniqueFd fd = open_file(tree.at("a"), O_RDWR);
  ASSERT_EQ(outcome(::rename(tree.at("a").c_str(), tree.at("d/moved").c_str())), "ok");
  EXPECT_FALSE(exists(tree.at("a")));
  EXPECT_EQ(stat_of(tree.at("d/moved")).st_ino, before);
  EXPECT_EQ(::pwrite(fd.get(), "CONTENT", 7, 0), 7);
  EXPECT_EQ(read_file(tree.at("d/moved")), "CONTENT of a");
  fd.reset();
  ASSERT_EQ(outcome(::rename(tree.at("d/moved").c_str(), tree.at("b").c_str())), "ok");
  EXPECT_EQ(read_file(tree.at("b")), "CONTENT of a");
  EXPECT_EQ(names_in(tree.at("d")), std::vector<std::string>{});
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("b")), "CONTENT of a");
  EXPECT_FALSE(exists(tree.at("a")));
}

TEST_P(Files, RenamedWithFlagsObeyThem) {
  write_file(tree.seed("a"), "a");
  write_file(tree.seed("b"), "b");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(
      outcome(::renameat2(AT_FDCWD, tree.at("a").c_str(), AT_FDCWD, tree.at("b").c_str(), RENAME_NOREPLACE)),
      "EEXIST");
  ASSERT_EQ(
      outcome(::renameat2(AT_FDCWD, tree.at("a").c_str(), AT_FDCWD, tree.at("b").c_str(), RENAME_EXCHANGE)),
      "ok");
  EXPECT_EQ(read_file(tree.at("a")) + read_file(tree.at("b")), "ba");
  write_file(tree.at("c"), "c");
  ASSERT_EQ(
      outcome(::renameat2(AT_FDCWD, tree.at("a").c_str(), AT_FDCWD, tree.at("c").c_str(), RENAME_EXCHANGE)),
      "ok");
  ASSERT_EQ(
      outcome(::renameat2(AT_FDCWD, tree.at("c").c_str(), AT_FDCWD, tree.at("d").c_str(), RENAME_NOREPLACE)),
      "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("a")) + read_file(tree.at("b")) + read_file(tree.at("d")), "cab");
  EXPECT_FALSE(exists(tree.at("c")));
}

// What an overlayfs above this mount does when it moves a name of its lower away.
TEST_P(Files, RenamedWithAWhiteoutLeaveADevice) {
  write_file(tree.seed("a"), "a");
  write_file(tree.seed("d/b"), "b");
  ASSERT_TRUE(tree.begin());
  const auto move = [this](const char* from, const char* to, unsigned flags) {
    return outcome(::renameat2(AT_FDCWD, tree.at(from).c_str(), AT_FDCWD, tree.at(to).c_str(), flags));
  };
  EXPECT_EQ(move("a", "d", RENAME_WHITEOUT | RENAME_EXCHANGE), "EINVAL");
  ASSERT_EQ(move("a", "new", RENAME_WHITEOUT), "ok");
  ASSERT_EQ(move("d", "e", RENAME_WHITEOUT), "ok");
  for (int round = 0; round < 2; ++round) {
    for (const char* name : {"a", "d"}) {
      EXPECT_TRUE(S_ISCHR(stat_of(tree.at(name)).st_mode)) << name;
      EXPECT_EQ(stat_of(tree.at(name)).st_rdev, 0U) << name;
    }
    EXPECT_EQ(read_file(tree.at("new")) + read_file(tree.at("e/b")), "ab");
    ASSERT_TRUE(tree.again());
  }
  ASSERT_EQ(outcome(::unlink(tree.at("a").c_str())), "ok");
  EXPECT_FALSE(exists(tree.at("a")));
}

TEST_P(Files, HardLinksStayOneFile) {
  write_file(tree.seed("a"), "shared content");
  make_directories(tree.seed("d"));
  ASSERT_EQ(outcome(::link(tree.seed("a").c_str(), tree.seed("d/b").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(stat_of(tree.at("a")).st_nlink, 2U);
  EXPECT_EQ(stat_of(tree.at("a")).st_ino, stat_of(tree.at("d/b")).st_ino);
  write_at(tree.at("a"), 0, "SHARED");
  EXPECT_EQ(read_file(tree.at("d/b")), "SHARED content");
  EXPECT_EQ(stat_of(tree.at("d/b")).st_nlink, 2U);
  EXPECT_EQ(stat_of(tree.at("a")).st_ino, stat_of(tree.at("d/b")).st_ino);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("d/b")), "SHARED content");
  EXPECT_EQ(stat_of(tree.at("d/b")).st_nlink, 2U);
  EXPECT_EQ(stat_of(tree.at("a")).st_ino, stat_of(tree.at("d/b")).st_ino);
  write_at(tree.at("d/b"), 7, "CONTENT");
  EXPECT_EQ(read_file(tree.at("a")), "SHARED CONTENT");
  ASSERT_EQ(outcome(::unlink(tree.at("a").c_str())), "ok");
  EXPECT_EQ(stat_of(tree.at("d/b")).st_nlink, 1U);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("d/b")), "SHARED CONTENT");
  EXPECT_EQ(stat_of(tree.at("d/b")).st_nlink, 1U);
  EXPECT_FALSE(exists(tree.at("a")));
}

TEST_P(Files, HardLinksRenamedBeforeTheFirstWriteStayOneFile) {
  write_file(tree.seed("a"), "x");
  ASSERT_EQ(outcome(::link(tree.seed("a").c_str(), tree.seed("b").c_str())), "ok");
  ASSERT_EQ(outcome(::link(tree.seed("a").c_str(), tree.seed("c").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::rename(tree.at("b").c_str(), tree.at("moved").c_str())), "ok");
  EXPECT_EQ(stat_of(tree.at("a")).st_nlink, 3U);
  ASSERT_TRUE(tree.again());
  write_file(tree.at("c"), "written through c");
  EXPECT_EQ(read_file(tree.at("a")), "written through c");
  EXPECT_EQ(read_file(tree.at("moved")), "written through c");
  EXPECT_EQ(stat_of(tree.at("moved")).st_nlink, 3U);
}

TEST_P(Files, GainNamesByLink) {
  write_file(tree.seed("a"), "content");
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::link(tree.at("a").c_str(), tree.at("d/b").c_str())), "ok");
  EXPECT_EQ(outcome(::link(tree.at("a").c_str(), tree.at("d/b").c_str())), "EEXIST");
  EXPECT_EQ(outcome(::link(tree.at("d").c_str(), tree.at("e").c_str())), "EPERM");
  EXPECT_EQ(stat_of(tree.at("a")).st_nlink, 2U);
  EXPECT_EQ(stat_of(tree.at("a")).st_ino, stat_of(tree.at("d/b")).st_ino);
  write_at(tree.at("d/b"), 0, "C");
  EXPECT_EQ(read_file(tree.at("a")), "Content");
  ASSERT_TRUE(tree.again());
  write_at(tree.at("a"), 1, "O");
  EXPECT_EQ(read_file(tree.at("d/b")), "COntent");
  EXPECT_EQ(stat_of(tree.at("d/b")).st_nlink, 2U);
}

TEST_P(Files, SymbolicLinksLead) {
  write_file(tree.seed("d/target"), "found");
  ASSERT_EQ(outcome(::symlink("d/target", tree.seed("old").c_str())), "ok");
  ASSERT_EQ(outcome(::symlink("absent", tree.seed("dangling").c_str())), "ok");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::symlink("../d/target", tree.at("d/new").c_str())), "ok");
  EXPECT_EQ(read_file(tree.at("old")), "found");
  EXPECT_EQ(read_file(tree.at("d/new")), "found");
  EXPECT_EQ(read_file(tree.at("dangling")), "<ENOENT>");
  EXPECT_EQ(outcome(::open(tree.at("old").c_str(), O_RDONLY | O_NOFOLLOW)), "ELOOP");
  char target[64] = {};
  EXPECT_EQ(::readlink(tree.at("old").c_str(), target, sizeof target), 8);
  EXPECT_STREQ(target, "d/target");
  EXPECT_EQ(stat_of(tree.at("old")).st_size, 8);
  ASSERT_EQ(outcome(::rename(tree.at("old").c_str(), tree.at("renamed").c_str())), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read_file(tree.at("renamed")), "found");
  EXPECT_EQ(read_file(tree.at("d/new")), "found");
}

TEST_P(Files, SpecialFilesKeepKindAndNumber) {
  VARVE_NEEDS(kRootOfHost);
  ASSERT_EQ(outcome(::mknod(tree.seed("tty").c_str(), S_IFCHR | 0620, makedev(5, 1))), "ok");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::mknod(tree.at("disk").c_str(), S_IFBLK | 0600, makedev(259, 70'000))), "ok");
  ASSERT_EQ(outcome(::mknod(tree.at("zero-zero").c_str(), S_IFCHR | 0600, makedev(0, 0))), "ok");
  ASSERT_EQ(outcome(::chmod(tree.at("tty").c_str(), 0666)), "ok");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(stat_of(tree.at("tty")).st_mode, S_IFCHR | 0666U);
    EXPECT_EQ(stat_of(tree.at("tty")).st_rdev, makedev(5, 1));
    EXPECT_EQ(stat_of(tree.at("disk")).st_rdev, makedev(259, 70'000));
    EXPECT_EQ(stat_of(tree.at("zero-zero")).st_mode, S_IFCHR | 0600U);
    EXPECT_TRUE(S_ISFIFO(stat_of(tree.at("fifo")).st_mode));
    EXPECT_EQ(names_in(tree.root()), (std::vector<std::string>{"disk", "fifo", "tty", "zero-zero"}));
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Files, SocketsConnect) {
  ASSERT_TRUE(tree.begin());
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", tree.at("socket").c_str());
  auto* generic = reinterpret_cast<struct sockaddr*>(&address);
  UniqueFd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(outcome(::bind(server.get(), generic, sizeof address)), "ok");
  ASSERT_EQ(outcome(::listen(server.get(), 1)), "ok");
  EXPECT_TRUE(S_ISSOCK(stat_of(tree.at("socket")).st_mode));
  UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(outcome(::connect(client.get(), generic, sizeof address)), "ok");
}

TEST_P(Files, LocksTakenBeforeTheFirstWriteStillExclude) {
  write_file(tree.seed("f"), "content");
  ASSERT_TRUE(tree.begin());
  UniqueFd holder = open_file(tree.at("f"), O_RDONLY);
  ASSERT_EQ(outcome(::flock(holder.get(), LOCK_EX | LOCK_NB)), "ok");
  write_at(tree.at("f"), 0, "C");
  UniqueFd other = open_file(tree.at("f"), O_RDWR);
  EXPECT_EQ(outcome(::flock(other.get(), LOCK_EX | LOCK_NB)), "EAGAIN");
  struct flock range {};
  range.l_type = F_WRLCK;
  ASSERT_EQ(outcome(::fcntl(other.get(), F_OFD_SETLK, &range)), "ok");
  UniqueFd third = open_file(tree.at("f"), O_RDWR);
  EXPECT_EQ(outcome(::fcntl(third.get(), F_OFD_SETLK, &range)), "EAGAIN");
}

TEST_P(Files, OpenForWritingAreNotExecuted) {
  ASSERT_EQ(run({"cp", "/bin/true", tree.seed("program")}).exit_status, 0);
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(run({tree.at("program")}).exit_status, 0);
  UniqueFd writer = open_file(tree.at("program"), O_WRONLY);
  EXPECT_EQ(run({tree.at("program")}).exit_status, 127);  // ETXTBSY
  writer.reset();
  EXPECT_EQ(run({tree.at("program")}).exit_status, 0);
}

TEST_P(Files, NamesMayHoldAnyByte) {
  ASSERT_TRUE(tree.begin());
  std::string odd;
  for (int byte = 1; byte < 256; ++byte) {
    if (byte != '/') odd.push_back(static_cast<char>(byte));
  }
  std::vector<std::string> names = {odd,       std::string(255, 'n'), ".wh.name", ".wh..wh..opq", ".wh.",
                                    "a:b,c\\d"};
  for (const std::string& name : names) write_file(tree.at(name), name);
  EXPECT_EQ(outcome(::open(tree.at(std::string(256, 'n')).c_str(), O_RDONLY)), "ENAMETOOLONG");
  EXPECT_EQ(outcome(::mkdir(tree.at(std::string(256, 'n')).c_str(), 0755)), "ENAMETOOLONG");
  ASSERT_TRUE(tree.again());
  for (const std::string& name : names) EXPECT_EQ(read_file(tree.at(name)), name);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names_in(tree.root()), names);
}

}  // namespace
}  // namespace varve::test
