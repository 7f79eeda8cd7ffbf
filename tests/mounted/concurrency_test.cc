// Many threads at once on one mount: first writes of one file, names that come and go, readers beside
// writers.

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/mounted/placed_tree.h"

namespace varve::test {
namespace {

constexpr int kThreads = 6;

// Runs body(0) to body(kThreads - 1) at once and waits for all.
void in_parallel(const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

class Concurrency : public EverywhereTest {};
VARVE_EVERYWHERE(Concurrency);

TEST_P(Concurrency, FirstWritesOfOneFileAllArrive) {
  std::string content = noise(600'000, 1);
  write_file(tree.seed("f"), content);
  ASSERT_TRUE(tree.begin());
  // Neighbouring ranges of 1,000 bytes: several threads change parts of the same block.
  in_parallel([this](int thread) {
    UniqueFd fd(::open(tree.at("f").c_str(), O_RDWR | O_CLOEXEC));
    for (int i = thread; i < 600; i += kThreads) {
      std::string bytes(1000, static_cast<char>('a' + thread));
      EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), i * 1000L), 1000) << outcome(-1);
    }
  });
  for (std::size_t i = 0; i < 600; ++i) {
    content.replace(i * 1000, 1000, 1000, static_cast<char>('a' + static_cast<int>(i) % kThreads));
  }
  EXPECT_TRUE(read_file(tree.at("f")) == content);
  ASSERT_TRUE(tree.again());
  EXPECT_TRUE(read_file(tree.at("f")) == content);
}

struct statx attributes_of(const std::string& path, int how) {
  struct statx attributes {};
  EXPECT_EQ(::statx(AT_FDCWD, path.c_str(), how, STATX_BASIC_STATS, &attributes), 0);
  return attributes;
}

// What of an answer tells its age. The number of blocks does not: it is the upper's file system's, and ext4 counts blocks twice or not
// at all for a moment whenever it writes back (168 times in 1,000,000 fstat of a file that was only ever written to).
std::string text_of(const struct statx& of) {
  return fmt::format("mode {:o}, {} links, {} bytes, mtime {}.{:09}, ctime {}.{:09}", of.stx_mode,
                     of.stx_nlink, of.stx_size, of.stx_mtime.tv_sec, of.stx_mtime.tv_nsec,
                     of.stx_ctime.tv_sec, of.stx_ctime.tv_nsec);
}

// Several threads ask the mount for the attributes of `asked` while `change` is called with 0, 1, ... Then the kernel must not have
// kept an answer from before the last change.
void expect_none_kept_too_long(const std::string& what, const std::string& asked,
                               const std::function<void(int)>& change) {
  constexpr int kRounds = 60;
  constexpr int kChanges = 5;
  constexpr int kAskers = 3;
  int old = 0;
  std::string one;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<bool> done{false};
    std::vector<std::thread> askers;
    for (int i = 0; i < kAskers; ++i) {
      askers.emplace_back([&] {
        while (!done) attributes_of(asked, AT_STATX_FORCE_SYNC);
      });
    }
    for (int i = 0; i < kChanges; ++i) change(round * kChanges + i);
    done = true;
    for (std::thread& asker : askers) asker.join();
    const std::string kept = text_of(attributes_of(asked, 0));
    const std::string now = text_of(attributes_of(asked, AT_STATX_FORCE_SYNC));
    if (kept == now) continue;
    ++old;
    one = fmt::format("kept: {}\nnow:  {}", kept, now);
  }
  EXPECT_EQ(old, 0) << what << ": of " << kRounds << " rounds; the last one:\n" << one;
}

bool is_even(int i) {
  return i % 2 == 0;
}

TEST_P(Concurrency, AttributesOfDirectoriesThatWereAskedForMeanwhileAreNotKept) {
  make_directories(tree.seed("d/e"));
  ASSERT_TRUE(tree.begin());
  const std::string d = tree.at("d");
  const std::string e = tree.at("d/e");
  const std::string name = tree.at("d/name");
  const std::string other = tree.at("d/other");
  expect_none_kept_too_long("mkdir, rmdir", d, [&](int i) {
    EXPECT_EQ(is_even(i) ? ::mkdir(name.c_str(), 0755) : ::rmdir(name.c_str()), 0);
  });
  expect_none_kept_too_long("create, unlink", d, [&](int i) {
    if (is_even(i)) {
      EXPECT_TRUE(open_file(name, O_CREAT | O_EXCL | O_WRONLY).valid());
    } else {
      EXPECT_EQ(::unlink(name.c_str()), 0);
    }
  });
  expect_none_kept_too_long("symlink, rename", d, [&](int i) {
    EXPECT_EQ(is_even(i) ? ::symlink("f", name.c_str()) : ::rename(name.c_str(), other.c_str()), 0);
  });
  expect_none_kept_too_long("rename to elsewhere", e, [&](int i) {
    const std::string inside = e + "/inside";
    EXPECT_EQ(is_even(i) ? ::rename(other.c_str(), inside.c_str()) : ::rename(inside.c_str(), other.c_str()),
              0);
  });
  expect_none_kept_too_long("mknod, unlink", e, [&](int i) {
    const std::string inside = e + "/fifo";
    EXPECT_EQ(is_even(i) ? ::mkfifo(inside.c_str(), 0600) : ::unlink(inside.c_str()), 0);
  });
}

TEST_P(Concurrency, AttributesOfFilesThatWereAskedForMeanwhileAreNotKept) {
  write_file(tree.seed("d/f"), noise(100'000, 1));
  write_file(tree.seed("d/g"), noise(100'000, 2));
  ASSERT_TRUE(tree.begin());
  const std::string f = tree.at("d/f");
  const std::string g = tree.at("d/g");
  const std::string name = tree.at("d/name");
  expect_none_kept_too_long("exchange", f, [&](int i) {
    EXPECT_EQ(::renameat2(AT_FDCWD, f.c_str(), AT_FDCWD, g.c_str(), RENAME_EXCHANGE), 0) << i;
  });
  // No unlink here: an answer that counts the link as gone already and comes sooner makes the kernel count it off twice (docs/decisions/0026).
  expect_none_kept_too_long(
      "link", f, [&](int i) { EXPECT_EQ(::link(f.c_str(), (name + std::to_string(i)).c_str()), 0); });
  expect_none_kept_too_long("setxattr", f, [&](int i) {
    const std::string value = std::to_string(i);
    EXPECT_EQ(::setxattr(f.c_str(), "user.n", value.data(), value.size(), 0), 0);
  });
  expect_none_kept_too_long(
      "chmod", f, [&](int i) { EXPECT_EQ(::chmod(f.c_str(), 0600 + static_cast<mode_t>(i % 64)), 0); });
  expect_none_kept_too_long("write", f, [&](int i) {
    const UniqueFd fd = open_file(f, O_WRONLY);
    EXPECT_EQ(::pwrite(fd.get(), "written", 7, i % 20 * 4096), 7);
  });
  expect_none_kept_too_long("fallocate", f, [&](int i) {
    const UniqueFd fd = open_file(f, O_WRONLY);
    EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i % 20 * 4096, 4096), 0);
  });
  expect_none_kept_too_long("store into a mapping", f, [&](int i) {
    const UniqueFd fd = open_file(f, O_RDWR);
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(at, MAP_FAILED);
    static_cast<char*>(at)[i] = static_cast<char>('a' + i % 26);
    EXPECT_EQ(::munmap(at, 4096), 0);
  });
}

TEST_P(Concurrency, AppendersLoseNothing) {
  write_file(tree.seed("log"), "begin\n");
  ASSERT_TRUE(tree.begin());
  constexpr int kRecords = 200;
  in_parallel([this](int thread) {
    const UniqueFd fd = open_file(tree.at("log"), O_WRONLY | O_APPEND);
    for (int i = 0; i < kRecords; ++i) {
      const std::string record = fmt::format("{} {:03}\n", thread, i);
      EXPECT_EQ(::write(fd.get(), record.data(), record.size()), static_cast<ssize_t>(record.size()));
    }
  });
  ASSERT_TRUE(tree.again());
  std::istringstream log(read_file(tree.at("log")));
  std::vector<int> next(kThreads, 0);
  std::string line;
  ASSERT_TRUE(std::getline(log, line));
  EXPECT_EQ(line, "begin");
  while (std::getline(log, line)) {
    ASSERT_EQ(line.size(), 5U) << line;
    const auto thread = static_cast<std::size_t>(line[0] - '0');
    ASSERT_LT(thread, next.size());
    EXPECT_EQ(line, fmt::format("{} {:03}", thread, next[thread]++))
        << "each writer's records in their order";
  }
  EXPECT_EQ(next, std::vector<int>(kThreads, kRecords));
}

TEST_P(Concurrency, ReadersNeverSeeAnythingButOldOrNew) {
  std::string old_content(256 * 1024, 'o');
  write_file(tree.seed("f"), old_content);
  ASSERT_TRUE(tree.begin());
  std::atomic<bool> done = false;
  std::thread writer([this, &done] {
    UniqueFd fd(::open(tree.at("f").c_str(), O_RDWR | O_CLOEXEC));
    for (long block = 0; block < 64; ++block) {
      EXPECT_EQ(::pwrite(fd.get(), std::string(4096, 'n').data(), 4096, block * 4096), 4096);
    }
    done = true;
  });
  do {
    std::string seen = read_file(tree.at("f"));
    EXPECT_EQ(seen.size(), old_content.size());
    EXPECT_EQ(seen.find_first_not_of("on"), std::string::npos);
  } while (!done);
  writer.join();
  EXPECT_TRUE(read_file(tree.at("f")) == std::string(256 * 1024, 'n'));
}

TEST_P(Concurrency, ExclusiveCreationHasOneWinner) {
  make_directories(tree.seed("d"));
  ASSERT_TRUE(tree.begin());
  std::atomic<int> winners = 0;
  in_parallel([this, &winners](int) {
    for (int i = 0; i < 100; ++i) {
      UniqueFd fd(
          ::open(tree.at(fmt::format("d/{}", i)).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
      if (fd.valid()) ++winners;
    }
  });
  EXPECT_EQ(winners, 100);
  EXPECT_EQ(names_in(tree.at("d")).size(), 100U);
}

TEST_P(Concurrency, NamesComeAndGoWithoutStrayErrors) {
  for (int i = 0; i < 20; ++i) write_file(tree.seed(fmt::format("a/{}", i)), "seed");
  make_directories(tree.seed("b"));
  ASSERT_TRUE(tree.begin());
  const std::set<std::string> ordinary = {"ok",     "ENOENT",  "EEXIST", "ENOTEMPTY",
                                          "EISDIR", "ENOTDIR", "EINVAL", "EPERM"};
  in_parallel([this, &ordinary](int thread) {
    std::uint32_t state = static_cast<std::uint32_t>(thread) * 7919U + 1;
    auto next = [&state](std::uint32_t bound) {
      state = state * 1664525U + 1013904223U;
      return (state >> 8) % bound;
    };
    auto name = [this, &next] { return tree.at(fmt::format("{}/{}", next(2) == 0 ? "a" : "b", next(25))); };
    for (int i = 0; i < 300; ++i) {
      std::string one = name();
      std::string two = name();
      long result = 0;
      switch (next(7)) {
        case 0:
          result = ::close(::open(one.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644));
          break;
        case 1:
          result = ::unlink(one.c_str());
          break;
        case 2:
          result = ::rename(one.c_str(), two.c_str());
          break;
        case 3:
          result = ::link(one.c_str(), two.c_str());
          break;
        case 4:
          result = ::mkdir(one.c_str(), 0755);
          break;
        case 5:
          result = ::rmdir(one.c_str());
          break;
        default:
          result = ::truncate(one.c_str(), 10);
          break;
      }
      std::string seen = outcome(result);
      EXPECT_TRUE(ordinary.count(seen) == 1 || seen == "EBADF") << seen << " for " << one << ", " << two;
    }
  });
  for (const char* directory : {"a", "b"}) {
    for (const std::string& name : names_in(tree.at(directory))) stat_of(tree.at(directory) + ("/" + name));
  }
  auto before = snapshot(tree.root());
  ASSERT_TRUE(tree.again());
  EXPECT_EQ(differences(before, snapshot(tree.root())), "");
  EXPECT_EQ(run({"rm", "-r", tree.at("a"), tree.at("b")}).err, "");
  EXPECT_EQ(names_in(tree.root()), std::vector<std::string>{});
}

TEST_P(Concurrency, DirectoriesRenamedUnderWalkersStayWhole) {
  for (int i = 0; i < 10; ++i) write_file(tree.seed(fmt::format("d/sub/{}", i)), "x");
  ASSERT_TRUE(tree.begin());
  std::atomic<bool> done = false;
  std::thread mover([this, &done] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(outcome(::rename(tree.at("d").c_str(), tree.at("e").c_str())), "ok");
      EXPECT_EQ(outcome(::rename(tree.at("e").c_str(), tree.at("d").c_str())), "ok");
    }
    done = true;
  });
  while (!done) {
    UniqueFd directory(::open(tree.at("d/sub").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) continue;  // it was called e just then
    EXPECT_EQ(names_in(fmt::format("/proc/self/fd/{}", directory.get())).size(), 10U);
  }
  mover.join();
  EXPECT_EQ(names_in(tree.at("d/sub")).size(), 10U);
}

// One large operation after the other on one file, and small ones on other files. Were the small ones to wait for the large ones, none
// would begin and end within a large one; how long anything takes does not matter.
class LargeOperations : public EverywhereTest {
 protected:
  static constexpr int kEnough = 5;
  static constexpr off_t kLargeBytes = off_t{48} << 20;

  void SetUp() override {
    write_file(tree.seed("large"), "");
    ASSERT_EQ(outcome(::truncate(tree.seed("large").c_str(), kLargeBytes)), "ok");
    write_at(tree.seed("large"), kLargeBytes / 2, noise(1 << 20, 1));
    write_file(tree.seed("d/small"), "small");
    ASSERT_TRUE(tree.begin());
  }

  // A look-up, a creation, a write, a read and an unlink.
  void do_small(int number) {
    EXPECT_FALSE(exists(tree.at(fmt::format("d/absent-{}", number))));
    const std::string name = tree.at(fmt::format("d/new-{}", number));
    write_file(name, "new");
    EXPECT_EQ(read_file(name) + read_file(tree.at("d/small")), "newsmall");
    EXPECT_EQ(outcome(::unlink(name.c_str())), "ok");
  }

  // Returns: how many small operations began and ended within a large one, kEnough at the most. On a busy machine few do by chance,
  // so they are tried for a minute; where the large ones hold them up, none ever does.
  int small_ones_within_large_ones(const std::function<bool(int fd)>& do_large) {
    std::atomic<unsigned> moment = 0;  // odd while a large operation is under way
    std::atomic<bool> done = false;
    std::thread other([&] {
      const UniqueFd fd = open_file(tree.at("large"), O_RDWR);
      while (!done) {
        ++moment;
        EXPECT_TRUE(do_large(fd.get())) << outcome(-1);
        ++moment;
      }
    });
    int within = 0;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    for (int i = 0; within < kEnough && std::chrono::steady_clock::now() < give_up; ++i) {
      const unsigned begin = moment;
      do_small(i);
      if (begin % 2 == 1 && moment == begin) ++within;
    }
    done = true;
    other.join();
    return within;
  }
};
VARVE_EVERYWHERE(LargeOperations);

TEST_P(LargeOperations, DelayNobodyElse) {
  const std::string bytes(kLargeBytes, 'w');
  const auto write_all = [&bytes](int fd) {
    return ::pwrite(fd, bytes.data(), bytes.size(), 0) == kLargeBytes;
  };
  EXPECT_EQ(small_ones_within_large_ones(write_all), kEnough) << "writing";
  EXPECT_EQ(small_ones_within_large_ones([&](int fd) {
              constexpr ssize_t kPart = kLargeBytes / 3;
              return ::pwrite(fd, bytes.data(), kPart, 12345) == kPart && ::fsync(fd) == 0;
            }),
            kEnough)
      << "writing and syncing";
  EXPECT_EQ(small_ones_within_large_ones([&](int fd) { return write_all(fd) && ::ftruncate(fd, 1) == 0; }),
            kEnough)
      << "writing and truncating";
  EXPECT_EQ(small_ones_within_large_ones([&](int fd) {
              return write_all(fd) &&
                     ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kLargeBytes) == 0;
            }),
            kEnough)
      << "writing and punching";
}

// The lower hangs: what waits for its data, waits; nobody else does.
TEST(PartialWrite, ThatWaitsForItsLowerHoldsUpNobodyElse) {
  MountedStack slow(StackShape{.lowers = 1, .upper = false});
  const std::string content = noise(1 << 20, 1);
  write_file(slow.lower(0, "big"), content);
  ASSERT_TRUE(slow.mount());
  MountedStack stack(StackShape{.lowers = 1, .options = "lowerlist=" + slow.scratch() + "/list"});
  write_file(slow.scratch() + "/list", slow.mount_point() + "\n");
  write_file(stack.lower(0, "d/f"), "own");
  ASSERT_TRUE(stack.mount());
  ASSERT_EQ(outcome(::chmod(stack.at("big").c_str(), 0600)),
            "ok");  // has its place in the upper, and no data there
  UniqueFd big = open_file(stack.at("big"), O_RDWR);
  ASSERT_EQ(names_in(stack.mount_point()), (std::vector<std::string>{"big", "d"}));
  ASSERT_EQ(::kill(slow.daemon(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(slow.daemon(), &status, WUNTRACED), slow.daemon());
  auto hangs = std::async(std::launch::async, [&] { return ::pwrite(big.get(), "changed", 7, 500'001); });
  ASSERT_EQ(hangs.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout)
      << "it needs no lower data";
  auto others = std::async(std::launch::async, [&] {
    for (int i = 0; i < 20; ++i) {
      const std::string name = stack.at(fmt::format("d/{}", i));
      write_file(name, "new");
      write_at(stack.at("d/f"), i, "x");
      EXPECT_EQ(outcome(::fsync(open_file(name, O_RDWR).get())), "ok");
      EXPECT_EQ(outcome(::rename(name.c_str(), (name + "-moved").c_str())), "ok");
      EXPECT_EQ(outcome(::mkdir(name.c_str(), 0755)), "ok");
      EXPECT_EQ(outcome(::rename(name.c_str(), (name + "-dir").c_str())), "ok");
      EXPECT_EQ(stat_of(big.get()).st_size, 1 << 20) << "even of the file itself";
    }
    return names_in(stack.at("d")).size();
  });
  EXPECT_EQ(others.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_EQ(hangs.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  ASSERT_EQ(::kill(slow.daemon(), SIGCONT), 0);
  EXPECT_EQ(others.get(), 41U);
  EXPECT_EQ(hangs.get(), 7);
  EXPECT_EQ(read_at(big.get(), 500'000, 9),
            content.substr(500'000, 1) + "changed" + content.substr(500'008, 1));
  big.reset();
  ASSERT_TRUE(stack.unmount());
}

}  // namespace
}  // namespace varve::test
