// Mounts without an upper. The kernel keeps what it was told and sends no OPEN there, so requests name nodes instead of handles.

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

// With lowers as plain directories (false) and as layer files (true).
class ReadOnly : public testing::TestWithParam<bool> {
 protected:
  StackShape shape(bool debug = false) {
    return StackShape{.lowers = 2, .layer_files = GetParam(), .upper = false, .options = {}, .debug = debug};
  }
};
INSTANTIATE_TEST_SUITE_P(Of, ReadOnly, testing::Bool(), lower_kind_name);

std::size_t count_of(const std::string& text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

std::size_t open_descriptors(pid_t process) {
  const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", process));
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_P(ReadOnly, AsksTheDaemonForNothingTheSecondTime) {
  MountedStack stack(shape(true));
  for (int i = 0; i < 20; ++i)
    write_file(stack.lower(i % 2, fmt::format("d{}/f{}", i % 3, i)), noise(9000, 1));
  ASSERT_TRUE(stack.mount());
  const Snapshot first = snapshot(stack.mount_point());
  const std::string told = stack.log();
  // Asked once, each answered with ENOSYS.
  EXPECT_EQ(count_of(told, "opcode: OPEN ("), 1U);
  EXPECT_EQ(count_of(told, "opcode: OPENDIR ("), 1U);
  EXPECT_EQ(count_of(told, "opcode: RELEASE"), 0U);
  EXPECT_GE(count_of(told, "opcode: READ ("), 20U);
  EXPECT_EQ(differences(first, snapshot(stack.mount_point())), "");
  // Only names of extended attributes are never kept by the kernel.
  const std::string more = stack.log().substr(told.size());
  EXPECT_EQ(count_of(more, "opcode: "), count_of(more, "opcode: LISTXATTR"));
}

TEST_P(ReadOnly, TellsAttributesWithTheListing) {
  MountedStack stack(shape(true));
  for (int i = 0; i < 1500; ++i) write_file(stack.lower(i % 2, fmt::format("d/name{}", i)), "text");
  ASSERT_TRUE(stack.mount());
  const std::vector<std::string> names = names_in(stack.at("d"));
  ASSERT_EQ(names.size(), 1500U);
  const std::string told = stack.log();
  for (const std::string& name : names) EXPECT_EQ(stat_of(stack.at("d/" + name)).st_size, 4);
  EXPECT_EQ(count_of(stack.log(), "opcode: "), count_of(told, "opcode: "));
}

TEST_P(ReadOnly, AsksOnceForANameThatIsNotThere) {
  MountedStack stack(shape(true));
  write_file(stack.lower(0, "d/f"), "text");
  ASSERT_TRUE(stack.mount());
  ASSERT_FALSE(exists(stack.at("d/missing")));
  const std::string told = stack.log();
  EXPECT_FALSE(exists(stack.at("d/missing")));
  EXPECT_EQ(count_of(stack.log(), "opcode: "), count_of(told, "opcode: "));
}

TEST_P(ReadOnly, ReadsManyMoreFilesThanItKeepsOpen) {
  constexpr std::uint32_t kFiles = 700;
  MountedStack stack(shape());
  for (std::uint32_t i = 0; i < kFiles; ++i) {
    write_file(stack.lower(i % 2, fmt::format("f{}", i)), noise(5000, i));
  }
  ASSERT_TRUE(stack.mount());
  std::vector<UniqueFd> files;
  for (std::uint32_t i = 0; i < kFiles; ++i) {
    files.push_back(open_file(stack.at(fmt::format("f{}", i)), O_RDONLY));
  }
  for (int pass = 0; pass < 2; ++pass) {
    std::uint32_t wrong = 0;
    for (std::uint32_t i = 0; i < kFiles; ++i) {
      // So that the daemon is asked again.
      ASSERT_EQ(::posix_fadvise(files[i].get(), 0, 0, POSIX_FADV_DONTNEED), 0);
      if (read_at(files[i].get(), 0, 6000) != noise(5000, i)) ++wrong;
    }
    EXPECT_EQ(wrong, 0U);
  }
  EXPECT_LT(open_descriptors(stack.daemon()), 300U);
}

TEST_P(ReadOnly, TellsHolesAndData) {
  constexpr off_t kHole = 1 << 20;
  MountedStack stack(shape());
  write_file(stack.lower(0, "f"), noise(65'536, 1));
  ASSERT_EQ(::truncate(stack.lower(0, "f").c_str(), 2 * kHole), 0);
  write_at(stack.lower(0, "f"), kHole, noise(65'536, 2));
  ASSERT_TRUE(stack.mount());
  const UniqueFd file = open_file(stack.at("f"), O_RDONLY);
  EXPECT_EQ(::lseek(file.get(), 10, SEEK_DATA), 10);
  EXPECT_EQ(::lseek(file.get(), 10, SEEK_HOLE), 65'536);
  EXPECT_EQ(::lseek(file.get(), 65'536, SEEK_DATA), kHole);
  EXPECT_EQ(::lseek(file.get(), kHole, SEEK_HOLE), kHole + 65'536);
  EXPECT_EQ(outcome(::lseek(file.get(), kHole + 65'536, SEEK_DATA)), "ENXIO");
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_END), 2 * kHole);
  EXPECT_TRUE(read_at(file.get(), 65'536, 1000) == std::string(1000, '\0'));
}

TEST_P(ReadOnly, MapsAndExecutesFiles) {
  MountedStack stack(shape());
  const std::string content = noise(700'000, 3);
  write_file(stack.lower(1, "data"), content);
  std::filesystem::copy_file("/bin/true", stack.lower(0, "true"));
  ASSERT_TRUE(stack.mount());
  const UniqueFd file = open_file(stack.at("data"), O_RDONLY);
  void* mapped = ::mmap(nullptr, content.size(), PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_TRUE(std::string_view(static_cast<const char*>(mapped), content.size()) == content);
  ::munmap(mapped, content.size());
  EXPECT_EQ(run({stack.at("true")}).exit_status, 0);
}

TEST_P(ReadOnly, GoesBackToAnyPlaceInADirectory) {
  MountedStack stack(shape());
  make_directories(stack.lower(0, "d"));
  make_directories(stack.lower(1, "d"));
  for (int i = 0; i < 1500; ++i) write_file(stack.lower(i % 2, fmt::format("d/name{}", i)), "");
  ASSERT_TRUE(stack.mount());
  const std::unique_ptr<DIR, CloseDirectory> stream(::opendir(stack.at("d").c_str()));
  ASSERT_NE(stream, nullptr);
  std::vector<std::pair<long, std::string>> places;
  std::set<std::string> names;
  for (;;) {
    const long at = ::telldir(stream.get());
    const struct dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    places.emplace_back(at, entry->d_name);
    names.insert(entry->d_name);
  }
  EXPECT_EQ(places.size(), 1502U);
  EXPECT_EQ(names.size(), 1502U);
  for (std::size_t i = 0; i < places.size(); i += 97) {
    const auto& [at, name] = places[places.size() - 1 - i];
    ::seekdir(stream.get(), at);
    const struct dirent* entry = ::readdir(stream.get());
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, name);
  }
}

TEST_P(ReadOnly, RefusesToTruncate) {
  MountedStack stack(shape());
  write_file(stack.lower(0, "f"), "long long text");
  ASSERT_TRUE(stack.mount());
  // From the second on no OPEN carries the flag.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(read_file(stack.at("f")), "long long text");
    EXPECT_EQ(outcome(::open(stack.at("f").c_str(), O_WRONLY | O_TRUNC)), "EROFS");
    EXPECT_EQ(outcome(::open(stack.at("f").c_str(), O_RDONLY | O_TRUNC)), "EROFS");
    EXPECT_EQ(outcome(::truncate(stack.at("f").c_str(), 3)), "EROFS");
  }
  EXPECT_EQ(read_file(stack.at("f")), "long long text");
  EXPECT_EQ(read_file(stack.lower(0, "f")), "long long text");
}

TEST_P(ReadOnly, ServesSeveralProcessesAtOnce) {
  constexpr std::size_t kBytes = 3'000'000;
  MountedStack stack(shape());
  const std::string content = noise(kBytes, 4);
  write_file(stack.lower(0, "f"), content);
  ASSERT_TRUE(stack.mount());
  std::vector<pid_t> children;
  for (std::size_t child = 0; child < 4; ++child) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      const UniqueFd file(::open(stack.at("f").c_str(), O_RDONLY | O_CLOEXEC));
      bool good = file.valid();
      std::string part(10'000, '?');
      for (std::size_t step = 0; good && step < 200; ++step) {
        const std::size_t at = (step * 7919 + child * 104'729) * 31 % (kBytes - part.size());
        good = ::pread(file.get(), part.data(), part.size(), static_cast<off_t>(at)) ==
                   static_cast<ssize_t>(part.size()) &&
               content.compare(at, part.size(), part) == 0;
      }
      ::_exit(good ? 0 : 1);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
}

TEST_P(ReadOnly, HasNothingToSync) {
  MountedStack stack(shape());
  write_file(stack.lower(0, "d/f"), "text");
  ASSERT_TRUE(stack.mount());
  const UniqueFd file = open_file(stack.at("d/f"), O_RDONLY);
  EXPECT_EQ(outcome(::fsync(file.get())), "ok");
  const UniqueFd directory = open_file(stack.at("d"), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(outcome(::fsync(directory.get())), "ok");
}

TEST_P(ReadOnly, ReadsFurtherAheadThanTheKernelWouldByItself) {
  MountedStack stack(shape());
  write_file(stack.lower(0, "f"), "text");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("f")), "text");  // the first request after INIT has been answered
  const dev_t device = stat_of(stack.mount_point()).st_dev;
  const std::string setting = fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(device), minor(device));
  if (::access(setting.c_str(), W_OK) != 0) GTEST_SKIP() << setting << " may not be written here";
  EXPECT_EQ(read_file(setting), "256\n");
}

// Answered in its turn by the thread that leads, a request would hold up all others when it takes long after all.
TEST(Requests, DoNotWaitForOneThatHangs) {
  MountedStack slow(StackShape{.lowers = 1, .upper = false});
  write_file(slow.lower(0, "a/x"), "below");
  ASSERT_TRUE(slow.mount());
  MountedStack stack(
      StackShape{.lowers = 1, .upper = false, .options = "lowerlist=" + slow.scratch() + "/list"});
  write_file(slow.scratch() + "/list", slow.mount_point() + "\n");
  write_file(stack.lower(0, "b/y"), "own");
  ASSERT_TRUE(stack.mount());
  ASSERT_TRUE(exists(stack.at("a")));
  ASSERT_TRUE(exists(stack.at("b")));
  ASSERT_EQ(::kill(slow.daemon(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(slow.daemon(), &status, WUNTRACED),
            slow.daemon());  // every thread of it has stopped now
  ASSERT_TRUE(WIFSTOPPED(status));
  auto hangs = std::async(std::launch::async, [&] { return exists(stack.at("a/x")); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  auto other = std::async(std::launch::async, [&] { return exists(stack.at("b/y")); });
  EXPECT_EQ(other.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(hangs.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  ASSERT_EQ(::kill(slow.daemon(), SIGCONT), 0);
  EXPECT_TRUE(other.get());
  EXPECT_TRUE(hangs.get());
  ASSERT_TRUE(stack.unmount());
}

}  // namespace
}  // namespace varve::test
