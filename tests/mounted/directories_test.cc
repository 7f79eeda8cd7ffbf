// Directories seen through the mount and natively: listing, renaming, removing (docs/semantics.md,
// "Directories").

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

using Names = std::vector<std::string>;

class Directories : public EverywhereTest {
 protected:
  // d/{one,two}, d/sub/{three,deep/four}
  void seed_tree() {
    write_file(tree.seed("d/one"), "1");
    write_file(tree.seed("d/two"), "2");
    write_file(tree.seed("d/sub/three"), "3");
    write_file(tree.seed("d/sub/deep/four"), "4");
  }
  std::string rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return outcome(::renameat2(AT_FDCWD, tree.at(from).c_str(), AT_FDCWD, tree.at(to).c_str(), flags));
  }
  std::string mkdir(const std::string& path) { return outcome(::mkdir(tree.at(path).c_str(), 0755)); }
  std::string rmdir(const std::string& path) { return outcome(::rmdir(tree.at(path).c_str())); }
  std::string unlink(const std::string& path) { return outcome(::unlink(tree.at(path).c_str())); }
  std::string read(const std::string& path) { return read_file(tree.at(path)); }
  void remove_tree(const std::string& path) { ASSERT_EQ(run({"rm", "-rf", tree.at(path)}).err, ""); }
};
VARVE_EVERYWHERE(Directories);

TEST_P(Directories, MadeAndRemoved) {
  make_directories(tree.seed("empty"));
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(mkdir("new"), "ok");
  EXPECT_EQ(mkdir("new"), "EEXIST");
  EXPECT_EQ(mkdir("absent/new"), "ENOENT");
  EXPECT_EQ(rmdir("empty"), "ok");
  EXPECT_EQ(rmdir("empty"), "ENOENT");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.root()), Names{"new"});
}

TEST_P(Directories, RemovedOnlyWhenEmpty) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(rmdir("d/sub/deep"), "ENOTEMPTY");
  EXPECT_EQ(unlink("d/sub/deep/four"), "ok");
  EXPECT_EQ(rmdir("d/sub/deep"), "ok");
  EXPECT_EQ(unlink("d/sub"), "EISDIR");
  EXPECT_EQ(rmdir("d/one"), "ENOTDIR");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.at("d/sub")), Names{"three"});
}

TEST_P(Directories, RemovedAndMadeAnewAreEmpty) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  remove_tree("d");
  EXPECT_FALSE(exists(tree.at("d")));
  ASSERT_EQ(mkdir("d"), "ok");
  EXPECT_EQ(names_in(tree.at("d")), Names{});
  EXPECT_EQ(read("d/one"), "<ENOENT>");
  ASSERT_EQ(mkdir("d/sub"), "ok");
  write_file(tree.at("d/sub/three"), "new");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.at("d")), Names{"sub"});
  EXPECT_EQ(names_in(tree.at("d/sub")), Names{"three"});
  EXPECT_EQ(read("d/sub/three"), "new");
}

TEST_P(Directories, ReplacedByAFileAndBack) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  remove_tree("d/sub");
  write_file(tree.at("d/sub"), "a file now");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read("d/sub"), "a file now");
  ASSERT_EQ(unlink("d/sub"), "ok");
  ASSERT_EQ(mkdir("d/sub"), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.at("d/sub")), Names{});
}

TEST_P(Directories, RenamedKeepWhatIsInThem) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  ino_t before = stat_of(tree.at("d")).st_ino;
  ASSERT_EQ(rename("d", "e"), "ok");
  for (int round = 0; round < 2; ++round) {
    EXPECT_FALSE(exists(tree.at("d")));
    EXPECT_EQ(names_in(tree.at("e")), (Names{"one", "sub", "two"}));
    EXPECT_EQ(read("e/sub/deep/four"), "4");
    EXPECT_EQ(stat_of(tree.at("e")).st_ino, before);
    EXPECT_EQ(names_in(tree.root()), Names{"e"});
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Directories, RenamedAgainAndAgainWithChangesBetween) {
  seed_tree();
  make_directories(tree.seed("other"));
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(rename("d", "e"), "ok");
  ASSERT_EQ(unlink("e/one"), "ok");
  write_file(tree.at("e/sub/new"), "n");
  ASSERT_EQ(rename("e/sub", "other/moved"), "ok");
  ASSERT_EQ(mkdir("e/sub"), "ok");
  ASSERT_EQ(mkdir("d"), "ok");
  write_at(tree.at("other/moved/three"), 0, "T");
  ASSERT_EQ(rename("other/moved/deep", "d/deep"), "ok");
  ASSERT_EQ(rename("other", "last"), "ok");
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(names_in(tree.root()), (Names{"d", "e", "last"}));
    EXPECT_EQ(names_in(tree.at("e")), (Names{"sub", "two"}));
    EXPECT_EQ(names_in(tree.at("e/sub")), Names{});
    EXPECT_EQ(names_in(tree.at("last/moved")), (Names{"new", "three"}));
    EXPECT_EQ(read("last/moved/three"), "T");
    EXPECT_EQ(names_in(tree.at("d")), Names{"deep"});
    EXPECT_EQ(read("d/deep/four"), "4");
    ASSERT_TRUE(tree.again());
  }
}

TEST_P(Directories, RenamedOverAnEmptyOneReplaceIt) {
  seed_tree();
  write_file(tree.seed("target/gone"), "x");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(rename("d", "target"), "ENOTEMPTY");
  ASSERT_EQ(unlink("target/gone"), "ok");
  ASSERT_EQ(rename("d", "target"), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.at("target")), (Names{"one", "sub", "two"}));
  EXPECT_FALSE(exists(tree.at("target/gone")));
}

TEST_P(Directories, RenamedWrongly) {
  seed_tree();
  write_file(tree.seed("file"), "f");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(rename("d", "d/sub/inside"), "EINVAL");
  EXPECT_EQ(rename("d", "file"), "ENOTDIR");
  EXPECT_EQ(rename("file", "d"), "EISDIR");
  EXPECT_EQ(rename("absent", "x"), "ENOENT");
  EXPECT_EQ(rename("d", "file", RENAME_NOREPLACE), "EEXIST");
  EXPECT_EQ(read("d/sub/deep/four"), "4");
}

TEST_P(Directories, ExchangedWithAFileAndADirectory) {
  seed_tree();
  write_file(tree.seed("file"), "f");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(rename("d", "file", RENAME_EXCHANGE), "ok");
  EXPECT_EQ(read("d"), "f");
  EXPECT_EQ(read("file/one"), "1");
  ASSERT_EQ(mkdir("fresh"), "ok");
  ASSERT_EQ(rename("file", "fresh", RENAME_EXCHANGE), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read("fresh/sub/deep/four"), "4");
  EXPECT_EQ(names_in(tree.at("file")), Names{});
  EXPECT_EQ(read("d"), "f");
}

TEST_P(Directories, ListedWithKindAndInodeNumber) {
  seed_tree();
  ASSERT_EQ(outcome(::symlink("one", tree.seed("d/link").c_str())), "ok");
  ASSERT_EQ(outcome(::mkfifo(tree.seed("d/fifo").c_str(), 0600)), "ok");
  ASSERT_TRUE(tree.begin());
  write_file(tree.at("d/new"), "n");
  write_at(tree.at("d/two"), 0, "T");
  std::set<std::string> seen;
  DIR* stream = ::opendir(tree.at("d").c_str());
  ASSERT_NE(stream, nullptr);
  while (const struct dirent* entry = ::readdir(stream)) {
    std::string name = entry->d_name;
    EXPECT_TRUE(seen.insert(name).second) << name << " came twice";
    if (name == "..") continue;
    struct stat status = stat_of(tree.at("d/" + name));
    EXPECT_EQ(entry->d_ino, status.st_ino) << name;
    EXPECT_EQ(static_cast<mode_t>(DTTOIF(entry->d_type)), status.st_mode & S_IFMT) << name;
  }
  ::closedir(stream);
  EXPECT_EQ(seen, (std::set<std::string>{".", "..", "fifo", "link", "new", "one", "sub", "two"}));
}

TEST_P(Directories, ManyEntriesComeOnceEach) {
  Names expected;
  for (int i = 0; i < 3000; ++i) {
    expected.push_back(fmt::format("a-file-with-a-rather-long-name-number-{:05}", i));
    write_file(tree.seed("d/" + expected.back()), "");
  }
  ASSERT_TRUE(tree.begin());
  for (int i = 3000; i < 3500; ++i) {
    expected.push_back(fmt::format("a-file-with-a-rather-long-name-number-{:05}", i));
    write_file(tree.at("d/" + expected.back()), "");
  }
  EXPECT_EQ(names_in(tree.at("d")), expected);
}

TEST_P(Directories, EmptiedWhileBeingRead) {
  for (int i = 0; i < 1500; ++i) write_file(tree.seed(fmt::format("d/{}", i)), "");
  ASSERT_TRUE(tree.begin());
  DIR* stream = ::opendir(tree.at("d").c_str());
  ASSERT_NE(stream, nullptr);
  while (const struct dirent* entry = ::readdir(stream)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") {
      EXPECT_EQ(unlink("d/" + name), "ok") << name;
    }
  }
  ::closedir(stream);
  EXPECT_EQ(names_in(tree.at("d")), Names{});
  EXPECT_EQ(rmdir("d"), "ok");
}

// Of a directory that takes several requests to read.
constexpr int kManyNames = 2000;
std::string many_name(int number) {
  return fmt::format("a-file-with-a-rather-long-name-number-{:05}", number);
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

TEST_P(Directories, ReadOnWhereAnotherReaderFoundThemChanged) {
  for (int i = 0; i < kManyNames; ++i) write_file(tree.seed("d/" + many_name(i)), "");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(names_in(tree.at("d")).size(), std::size_t{kManyNames});
  DirectoryStream first(::opendir(tree.at("d").c_str()));
  ASSERT_NE(first, nullptr);
  std::multiset<std::string> seen;
  const auto see = [&](const struct dirent* entry) {
    if (entry->d_name[0] == 'a') seen.insert(entry->d_name);
    return entry;
  };
  ASSERT_NE(see(::readdir(first.get())), nullptr);
  // What the kernel may keep of the listing is void now, and a second reader has begun another one.
  write_file(tree.at("d/new"), "");
  DirectoryStream second(::opendir(tree.at("d").c_str()));
  ASSERT_NE(second, nullptr);
  ASSERT_NE(::readdir(second.get()), nullptr);
  while (const struct dirent* entry = ::readdir(first.get())) see(entry);
  std::multiset<std::string> expected;
  for (int i = 0; i < kManyNames; ++i) expected.insert(many_name(i));
  EXPECT_EQ(seen, expected);
}

TEST_P(Directories, EmptiedWhileBeingReadAndListedByAnother) {
  for (int i = 0; i < kManyNames; ++i) write_file(tree.seed("d/" + many_name(i)), "");
  ASSERT_TRUE(tree.begin());
  DirectoryStream stream(::opendir(tree.at("d").c_str()));
  ASSERT_NE(stream, nullptr);
  std::size_t removed = 0;
  while (const struct dirent* entry = ::readdir(stream.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    ASSERT_EQ(unlink("d/" + name), "ok") << name;
    ++removed;
    if (removed % 500 == 0) {
      ASSERT_EQ(names_in(tree.at("d")).size(), kManyNames - removed);
    }
  }
  EXPECT_EQ(names_in(tree.at("d")), Names{});
}

// Appends the names that one getdents64(2) gives; few, so that the reader stops in the middle. Returns: whether there were any.
bool read_some_names(int directory, Names& names) {
  alignas(struct dirent64) char buffer[1024];
  const ssize_t length = ::getdents64(directory, buffer, sizeof buffer);
  EXPECT_GE(length, 0);
  for (ssize_t at = 0; at < length;) {
    const auto* entry = reinterpret_cast<const struct dirent64*>(buffer + at);
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    at += entry->d_reclen;
  }
  return length > 0;
}

// The kernel's copy of such a listing ends where a page does, which it takes for the end of the listing when a reader's place is not
// in it (Linux fs/fuse/readdir.c, fuse_readdir_cached).
TEST_P(Directories, ReadOnInAListingThatFillsItsPages) {
  // With "." and "..": 32 bytes each, two pages of 4 KiB when the first is removed.
  constexpr int kNames = 255;
  for (int i = 0; i < kNames; ++i) write_file(tree.seed(fmt::format("d/name-{:03}", i)), "");
  ASSERT_TRUE(tree.begin());
  const UniqueFd directory = open_file(tree.at("d"), O_RDONLY | O_DIRECTORY);
  Names seen;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(read_some_names(directory.get(), seen));
  ASSERT_LT(seen.size(), std::size_t{kNames} / 2);
  ASSERT_EQ(unlink("d/" + seen.back()), "ok");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(names_in(tree.at("d")).size(), std::size_t{kNames} - 1);
  while (read_some_names(directory.get(), seen)) {
  }
  std::sort(seen.begin(), seen.end());
  Names expected;
  for (int i = 0; i < kNames; ++i) expected.push_back(fmt::format("name-{:03}", i));
  EXPECT_EQ(seen, expected);
}

TEST_P(Directories, PositionsAreStable) {
  for (int i = 0; i < 400; ++i) write_file(tree.seed(fmt::format("d/{}", i)), "");
  ASSERT_TRUE(tree.begin());
  DIR* stream = ::opendir(tree.at("d").c_str());
  ASSERT_NE(stream, nullptr);
  for (int i = 0; i < 100; ++i) ASSERT_NE(::readdir(stream), nullptr);
  long position = ::telldir(stream);
  const struct dirent* entry = ::readdir(stream);
  ASSERT_NE(entry, nullptr);
  std::string following = entry->d_name;
  for (int i = 0; i < 100; ++i) ASSERT_NE(::readdir(stream), nullptr);
  write_file(tree.at("d/new"), "");
  ::seekdir(stream, position);
  entry = ::readdir(stream);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(following, entry->d_name);
  ::closedir(stream);
}

TEST_P(Directories, LinkCountIsTwoAndSubdirectories) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(stat_of(tree.at("d")).st_nlink, 3U);
  ASSERT_EQ(mkdir("d/new"), "ok");
  EXPECT_EQ(stat_of(tree.at("d")).st_nlink, 4U);
  ASSERT_EQ(rename("d/sub", "sub"), "ok");
  EXPECT_EQ(stat_of(tree.at("d")).st_nlink, 3U);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(stat_of(tree.at("d")).st_nlink, 3U);
  EXPECT_EQ(stat_of(tree.at("sub")).st_nlink, 3U);
}

TEST_P(Directories, LinkCountKnowsWhatTheUpperHides) {
  for (const char* name : {"d/gone", "d/replaced", "d/again", "d/copied", "d/left"})
    make_directories(tree.seed(name));
  write_file(tree.seed("d/file"), "");
  write_file(tree.seed("d/copied/file"), "");
  ASSERT_TRUE(tree.begin());
  const auto links = [this] { return stat_of(tree.at("d")).st_nlink; };
  EXPECT_EQ(links(), 7U);
  ASSERT_EQ(rmdir("d/gone"), "ok");
  EXPECT_EQ(links(), 6U);
  ASSERT_EQ(rmdir("d/replaced"), "ok");
  write_file(tree.at("d/replaced"), "");
  EXPECT_EQ(links(), 5U);
  ASSERT_EQ(rmdir("d/again"), "ok");
  ASSERT_EQ(mkdir("d/again"), "ok");
  EXPECT_EQ(links(), 5U);
  ASSERT_EQ(unlink("d/copied/file"), "ok");
  EXPECT_EQ(links(), 5U) << "the directory is in both";
  ASSERT_EQ(unlink("d/file"), "ok");
  ASSERT_EQ(mkdir("d/file"), "ok");
  EXPECT_EQ(links(), 6U);
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(links(), 6U);
}

TEST_P(Directories, ChangeTheirTimeWithTheirEntries) {
  seed_tree();
  ASSERT_EQ(run({"touch", "-d", "2001-02-03 04:05:06.789", tree.seed("d"), tree.seed("d/sub")}).exit_status,
            0);
  ASSERT_TRUE(tree.begin());
  std::int64_t old = mtime_ns(tree.at("d"));
  EXPECT_EQ(old % 1'000'000'000, 789'000'000);
  write_at(tree.at("d/one"), 0, "x");
  EXPECT_EQ(mtime_ns(tree.at("d")), old) << "writing a file is no change of its directory";
  write_file(tree.at("d/new"), "");
  EXPECT_GT(mtime_ns(tree.at("d")), old);
  EXPECT_EQ(mtime_ns(tree.at("d/sub")), old);
  ASSERT_EQ(unlink("d/sub/three"), "ok");
  EXPECT_GT(mtime_ns(tree.at("d/sub")), old);
}

TEST_P(Directories, DepthIsNoLimit) {
  std::string path = "d";
  for (int i = 0; i < 60; ++i) path += fmt::format("/level-{}", i);
  write_file(tree.seed(path + "/file"), "deep");
  ASSERT_TRUE(tree.begin());
  EXPECT_EQ(read(path + "/file"), "deep");
  write_at(tree.at(path + "/file"), 0, "DEEP");
  ASSERT_EQ(rename("d/level-0/level-1", "short"), "ok");
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(read("short" + path.substr(std::string("d/level-0/level-1").size()) + "/file"), "DEEP");
}

TEST_P(Directories, StayUsableAsWorkingDirectoryWhenRenamed) {
  seed_tree();
  ASSERT_TRUE(tree.begin());
  UniqueFd directory = open_file(tree.at("d/sub"), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(rename("d", "e"), "ok");
  UniqueFd made(::openat(directory.get(), "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  EXPECT_TRUE(made.valid()) << outcome(-1);
  EXPECT_TRUE(exists(tree.at("e/sub/new")));
  remove_tree("e");
  EXPECT_EQ(outcome(::openat(directory.get(), "late", O_CREAT | O_WRONLY, 0644)), "ENOENT");
}

}  // namespace
}  // namespace varve::test
