// Directories of very many names, and directories that many processes changed.

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

// VARVE_TEST_NAMES sets how many names the large directory has. A million take 512 MB of scratch space and ten times as long as
// everything else here, so that a fifth of it stands in for them where nothing is said. Natively, where only the test is on trial
// and each name is made by itself, fewer do.
std::size_t number_of_names(bool natively) {
  if (natively) return 20'000;
  const char* asked = ::getenv("VARVE_TEST_NAMES");
  return asked != nullptr ? std::strtoul(asked, nullptr, 10) : 200'000;
}

std::string numbered(std::size_t number) {
  return fmt::format("name-{:07}", number);
}

// The number in a name, or `none`.
std::size_t number_in(const char* name, std::size_t none) {
  return std::strncmp(name, "name-", 5) == 0 ? std::strtoul(name + 5, nullptr, 10) : none;
}

// An archive of empty files d/name-N, which is quicker to make and to read than a directory of them.
void write_archive(const std::string& path, std::size_t names) {
  std::ofstream archive(path, std::ios::binary);
  const auto add = [&archive](const std::string& name, char type, const char* mode) {
    char header[512] = {};
    std::strncpy(header, name.c_str(), 99);
    std::memcpy(header + 100, mode, 7);
    for (const int field : {108, 116}) std::memcpy(header + field, "0000000", 7);
    for (const int field : {124, 136}) std::memcpy(header + field, "00000000000", 11);
    std::memset(header + 148, ' ', 8);
    header[156] = type;
    std::memcpy(header + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (const char byte : header) sum += static_cast<unsigned char>(byte);
    std::memcpy(header + 148, fmt::format("{:06o}", sum).c_str(), 7);
    archive.write(header, sizeof header);
  };
  add("d/", '5', "0000755");
  for (std::size_t i = 0; i < names; ++i) add("d/" + numbered(i), '0', "0000644");
  const char end[1024] = {};
  archive.write(end, sizeof end);
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

// A directory of very many names, native (false) or in a layer file (true).
class ManyNames : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!GetParam()) {
      make_directories(stack.scratch() + "/native/d");
      const UniqueFd native = open_file(stack.scratch() + "/native/d", O_RDONLY | O_DIRECTORY);
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(outcome(::mknodat(native.get(), numbered(i).c_str(), S_IFREG | 0644, 0)), "ok");
      }
      directory = stack.scratch() + "/native/d/";
      return;
    }
    write_archive(stack.scratch() + "/names.tar", count);
    const ProgramResult built = run({program("imagetool"), "layer", "build", stack.scratch() + "/names.tar",
                                     "-o", stack.lower_argument(0)});
    ASSERT_EQ(built.exit_status, 0) << built.err;
    ASSERT_EQ(outcome(::unlink((stack.scratch() + "/names.tar").c_str())), "ok");
    ASSERT_TRUE(stack.mount());
    directory = stack.at("d/");
  }
  void expect(std::vector<unsigned char> seen, std::size_t first_gone) const {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < count; ++i) wrong += i < first_gone ? seen[i] != 1 : seen[i] > 1;
    EXPECT_EQ(wrong, 0U) << "names that did not come once";
  }

  const std::size_t count = number_of_names(!GetParam());
  MountedStack stack{StackShape{.lowers = 1, .layer_files = true}};
  std::string directory;
};
std::string place_of_names(const testing::TestParamInfo<bool>& layer_file) {
  return layer_file.param ? "LayerFile" : "Native";
}
INSTANTIATE_TEST_SUITE_P(In, ManyNames, testing::Bool(), place_of_names);

TEST_P(ManyNames, ComeOnceEachWhileOthersComeAndGo) {
  std::vector<unsigned char> seen(count, 0);
  const DirectoryStream stream(::opendir(directory.c_str()));
  ASSERT_NE(stream, nullptr);
  std::size_t removed = 0;
  std::size_t read = 0;
  std::size_t made = 0;
  while (const struct dirent* entry = ::readdir(stream.get())) {
    const std::size_t number = number_in(entry->d_name, count);
    if (number >= count) continue;  // ".", "..", or one that came
    ++read;
    ++seen[number];
    if (number >= count / 2 && number % 40 == 0) {  // a name goes as it is read
      ASSERT_EQ(outcome(::unlink((directory + entry->d_name).c_str())), "ok");
      ++removed;
    }
    if (read % 800 == 0) write_file(directory + numbered(count + made++), "");
  }
  expect(seen, count);
  EXPECT_EQ(removed, (count + 39) / 40 - (count / 2 + 39) / 40);
  EXPECT_EQ(names_in(directory).size(), count - removed + made);
}

TEST_P(ManyNames, AreFoundAgainFromAnyPosition) {
  const DirectoryStream stream(::opendir(directory.c_str()));
  ASSERT_NE(stream, nullptr);
  std::vector<std::pair<long, std::string>> places;
  for (std::size_t i = 0;; ++i) {
    const long at = i % 5000 == 0 ? ::telldir(stream.get()) : -1;
    const struct dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    if (at >= 0) places.emplace_back(at, entry->d_name);
  }
  ASSERT_GE(places.size(), count / 5000);
  // The listing has changed since.
  for (std::size_t i = 0; i < 100; ++i) write_file(directory + fmt::format("other-{}", i), "");
  std::reverse(places.begin(), places.end());
  for (const auto& [at, name] : places) {
    ::seekdir(stream.get(), at);
    const struct dirent* entry = ::readdir(stream.get());
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, name);
  }
  // On from the middle: nothing twice.
  std::vector<unsigned char> seen(count, 0);
  ::seekdir(stream.get(), places[places.size() / 2].first);
  std::size_t read = 0;
  while (const struct dirent* entry = ::readdir(stream.get())) {
    const std::size_t number = number_in(entry->d_name, count);
    if (number < count) {
      ++seen[number];
      ++read;
    }
  }
  expect(seen, 0);
  EXPECT_GT(read, count / 4);
  EXPECT_LT(read, count);
}

// One of several processes: makes, links, renames and removes names of its own in two directories, and leaves nothing. Returns: 0,
// or an errno that none of it may give.
int come_and_go(const std::string& root, int process) {
  for (int i = 0; i < 150; ++i) {
    const std::string name = fmt::format("/{}-{}", process, i % 7);
    const std::string one = root + "/a" + name;
    const std::string two = root + "/b" + name;
    const int fd = ::open(one.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0 || ::close(fd) != 0) return errno;
    if (::rename(one.c_str(), two.c_str()) != 0) return errno;
    if (::link(two.c_str(), one.c_str()) != 0 || ::unlink(two.c_str()) != 0) return errno;
    if (::mkdir(two.c_str(), 0755) != 0) return errno;
    if (::rename(one.c_str(), (two + "/f").c_str()) != 0) return errno;
    if (::rename(two.c_str(), one.c_str()) != 0) return errno;
    if (::unlink((one + "/f").c_str()) != 0 || ::rmdir(one.c_str()) != 0) return errno;
  }
  // And what was there at the beginning, each its share.
  for (int i = process; i < 40; i += 4) {
    const std::string name = fmt::format("/seed-{}", i);
    if (::rename((root + "/a" + name).c_str(), (root + "/b" + name).c_str()) != 0) return errno;
    if (::unlink((root + "/b" + name).c_str()) != 0) return errno;
  }
  return 0;
}

class EmptiedDirectories : public EverywhereTest {};
VARVE_EVERYWHERE(EmptiedDirectories);

TEST_P(EmptiedDirectories, CanBeRemovedWhateverHappenedInThem) {
  for (int i = 0; i < 40; ++i) write_file(tree.seed(fmt::format("a/seed-{}", i)), "seed");
  write_file(tree.seed("b/gone"), "seed");
  ASSERT_TRUE(tree.begin());
  ASSERT_EQ(outcome(::unlink(tree.at("b/gone").c_str())), "ok");
  std::vector<pid_t> processes;
  for (int process = 0; process < 4; ++process) {
    processes.push_back(::fork());
    if (processes.back() == 0) ::_exit(come_and_go(tree.root(), process));
  }
  for (const pid_t process : processes) {
    int status = 0;
    ASSERT_EQ(::waitpid(process, &status, 0), process);
    EXPECT_EQ(status, 0) << "ended with errno " << strerrorname_np(WEXITSTATUS(status));
  }
  for (const char* name : {"a", "b"}) {
    EXPECT_EQ(names_in(tree.at(name)), std::vector<std::string>{}) << name;
    EXPECT_EQ(stat_of(tree.at(name)).st_nlink, 2U) << name;
    EXPECT_EQ(outcome(::rmdir(tree.at(name).c_str())), "ok") << name;
  }
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(names_in(tree.root()), std::vector<std::string>{});
}

}  // namespace
}  // namespace varve::test
