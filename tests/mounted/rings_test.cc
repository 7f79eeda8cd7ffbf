// Requests over io_uring: docs/decisions/0020. That mounts behave the same with it is held by scripts/test-uring, which runs all mounted
// tests so; here is what is special to it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "fs/base/unique_fd.h"
#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

void bind_to_processor(unsigned number) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(number, &set);
  ASSERT_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
}

class Rings : public testing::Test {
 protected:
  void SetUp() override {
    CPU_ZERO(&usual_);
    ASSERT_EQ(::sched_getaffinity(0, sizeof usual_, &usual_), 0);
  }
  void TearDown() override { ::sched_setaffinity(0, sizeof usual_, &usual_); }

  cpu_set_t usual_;
};

TEST_F(Rings, AreUsedWhereTheyAreAskedFor) {
  VARVE_NEEDS(kRings);
  for (const bool on : {false, true}) {
    MountedStack stack(StackShape{.lowers = 1, .options = on ? "uring=on" : "uring=off"});
    write_file(stack.lower(0, "a"), "content");
    ASSERT_TRUE(stack.mount());
    EXPECT_EQ(read_file(stack.at("a")), "content");
    EXPECT_EQ(descriptors_of(stack.daemon(), "[io_uring]") > 0, on);
    ASSERT_TRUE(stack.unmount());
  }
}

// libfuse answers by itself, and not through the rings.
TEST_F(Rings, TellWhatThereIsNoHandlerFor) {
  VARVE_NEEDS(kRings);
  MountedStack stack(StackShape{.lowers = 1, .options = "uring=on"});
  write_file(stack.lower(0, "a"), "content");
  ASSERT_TRUE(stack.mount());
  const UniqueFd file(::open(stack.at("a").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  int flags = 0;
  EXPECT_EQ(::ioctl(file.get(), FS_IOC_GETFLAGS, &flags), -1);
  EXPECT_EQ(errno, ENOTTY);
}

TEST_F(Rings, ThatCannotBeHadFailTheMount) {
  if (lack_of(Right::kRings).empty()) GTEST_SKIP() << "needs a kernel that offers no rings";
  MountedStack stack(StackShape{.lowers = 1, .options = "uring=on"});
  EXPECT_FALSE(stack.mount());
  EXPECT_FALSE(stack.is_mounted());
  EXPECT_NE(stack.log().find("uring=on"), std::string::npos) << stack.log();
  EXPECT_NE(stack.log().find("enable_uring"), std::string::npos) << stack.log();
  EXPECT_EQ(
      run({program("varvefs"), "-o", "uring=on,lowerdir=" + stack.lower(0), stack.mount_point()}).exit_status,
      1);
  EXPECT_FALSE(stack.is_mounted());
}

// Several at once, all of them and the one that must go on from one processor, and so through one queue.
TEST_F(Rings, GoOnBesideRequestsThatHang) {
  VARVE_NEEDS(kRings);
  MountedStack slow(StackShape{.lowers = 1, .upper = false});
  for (const char* name : {"0", "1", "2", "3"})
    write_file(slow.lower(0, std::string("a") + name + "/x"), "below");
  ASSERT_TRUE(slow.mount());
  MountedStack stack(
      StackShape{.lowers = 1, .upper = false, .options = "uring=on,lowerlist=" + slow.scratch() + "/list"});
  write_file(slow.scratch() + "/list", slow.mount_point() + "\n");
  write_file(stack.lower(0, "b/y"), "own");
  write_file(stack.lower(0, "c"), "known");
  ASSERT_TRUE(stack.mount());
  for (const char* name : {"a0", "a1", "a2", "a3", "b"}) ASSERT_TRUE(exists(stack.at(name)));
  ASSERT_EQ(read_file(stack.at("c")), "known");
  ASSERT_EQ(::kill(slow.daemon(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(slow.daemon(), &status, WUNTRACED), slow.daemon());
  ASSERT_TRUE(WIFSTOPPED(status));
  bind_to_processor(0);  // the threads below, too
  std::vector<std::future<bool>> hang;
  for (const char* name : {"0", "1", "2", "3"}) {
    hang.push_back(std::async(std::launch::async,
                              [&, name] { return exists(stack.at("a" + std::string(name) + "/x")); }));
  }
  auto other = std::async(std::launch::async, [&] { return exists(stack.at("b/y")); });
  EXPECT_EQ(other.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  for (auto& one : hang) EXPECT_EQ(one.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  ASSERT_EQ(::kill(slow.daemon(), SIGCONT), 0);
  EXPECT_TRUE(other.get());
  for (auto& one : hang) EXPECT_TRUE(one.get());
  ASSERT_TRUE(stack.unmount());
}

// The kernel asks by the processor of who asks, whether the daemon may run there or not.
TEST_F(Rings, ServeProcessorsThatTheDaemonMayNotUse) {
  VARVE_NEEDS(kRings);
  if (CPU_COUNT(&usual_) < 2 || !CPU_ISSET(0, &usual_) || !CPU_ISSET(1, &usual_))
    GTEST_SKIP() << "needs two processors";
  MountedStack stack(StackShape{.lowers = 1, .options = "uring=on"});
  write_file(stack.lower(0, "a"), "content");
  bind_to_processor(0);
  ASSERT_TRUE(stack.mount());  // the daemon is bound as well
  bind_to_processor(1);
  EXPECT_EQ(read_file(stack.at("a")), "content");
  write_file(stack.at("b"), "new");
  EXPECT_EQ(read_file(stack.at("b")), "new");
  bind_to_processor(0);
  EXPECT_EQ(read_file(stack.at("b")), "new");
  ASSERT_TRUE(stack.unmount());
}

TEST_F(Rings, EndWithRequestsUnderWay) {
  VARVE_NEEDS(kRings);
  MountedStack stack(StackShape{.lowers = 1, .options = "uring=on"});
  for (int i = 0; i < 50; ++i) write_file(stack.lower(0, "a" + std::to_string(i)), noise(200'000, 1));
  for (int turn = 0; turn < 5; ++turn) {
    ASSERT_TRUE(stack.mount());
    std::atomic<bool> over{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> clients;
    for (int client = 0; client < 4; ++client) {
      clients.emplace_back([&, client] {
        for (int i = client; !over.load(); i = (i + 1) % 50) {
          if (exists(stack.at("a" + std::to_string(i)))) ++answered;
          read_at(stack.at("a" + std::to_string(i)), 0, 150'000);
        }
      });
    }
    while (answered.load() < 20) std::this_thread::yield();
    EXPECT_EQ(stack.terminate(), 0);
    over.store(true);
    for (std::thread& client : clients) client.join();
    EXPECT_FALSE(stack.is_mounted());
  }
}

}  // namespace
}  // namespace varve::test
