// -o wakeup_us= (docs/decisions/0023), by what the kernel says that it is asked for. Other programs may ask for less meanwhile, which
// hides it; who asks for what is told apart by the number.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

constexpr const char* kDevice = "/dev/cpu_dma_latency";

// Microseconds that nobody else asks for.
std::int32_t own_limit() {
  return 1000 + ::getpid() % 10'000;
}

StackShape asking_for(std::int32_t limit_us) {
  return {.lowers = 1, .options = "wakeup_us=" + std::to_string(limit_us)};
}

// The least that anybody asks the kernel for at this moment.
std::int32_t least_asked_us() {
  std::int32_t least = -1;
  const UniqueFd device = open_file(kDevice, O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(::read(device.get(), &least, sizeof least), static_cast<ssize_t>(sizeof least));
  return least;
}

// Of `varvefs --status`.
std::string told_of(const MountedStack& stack) {
  const ProgramResult status = run({program("varvefs"), "--status", stack.mount_point()});
  EXPECT_EQ(status.exit_status, 0) << status.err;
  const std::string label = "\nwakeup ";
  const std::size_t line = status.out.find(label);
  if (line == std::string::npos) return "<no such line>";
  const std::size_t begin = status.out.find_first_not_of(' ', line + label.size());
  return status.out.substr(begin, status.out.find('\n', begin) - begin);
}

bool is_held(const MountedStack& stack) {
  return told_of(stack).find("us: held, taken ") != std::string::npos;
}

bool becomes(const std::function<bool()>& what, std::chrono::milliseconds within = std::chrono::seconds(20)) {
  const auto begin = std::chrono::steady_clock::now();
  while (!what()) {
    if (std::chrono::steady_clock::now() - begin > within) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// A process that asks a mount for one name after another, for as long as this lives.
class Requests {
 public:
  explicit Requests(const MountedStack& stack) : client_(::fork()) {
    if (client_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct stat stat {};
    for (std::uint64_t i = 0;; ++i) ::lstat(stack.at("none-" + std::to_string(i)).c_str(), &stat);
  }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;
  ~Requests() {
    ::kill(client_, SIGKILL);
    ::waitpid(client_, nullptr, 0);
  }

 private:
  const pid_t client_;
};

TEST(Wakeup, IsAskedForDuringABurstAndNotAfterIt) {
  VARVE_NEEDS(kWakeup);
  MountedStack stack(asking_for(own_limit()));
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(descriptors_of(stack.daemon(), kDevice), 1U);
  for (int burst = 0; burst < 3; ++burst) {
    EXPECT_NE(least_asked_us(), own_limit());
    {
      const Requests requests(stack);
      EXPECT_TRUE(becomes([] { return least_asked_us() <= own_limit(); }));
      EXPECT_TRUE(becomes([&] { return is_held(stack); }));
    }
    // Some 60 ms, where the machine has nothing else to do.
    EXPECT_TRUE(becomes([] { return least_asked_us() != own_limit(); }, std::chrono::seconds(2)));
  }
  EXPECT_TRUE(told_of(stack).starts_with(std::to_string(own_limit()) + " us: not held now, taken "));
  ASSERT_TRUE(stack.unmount());
}

TEST(Wakeup, IsNotAskedForByAFewRequests) {
  VARVE_NEEDS(kWakeup);
  MountedStack stack(asking_for(own_limit()));
  ASSERT_TRUE(stack.mount());
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(exists(stack.at("none-" + std::to_string(i))));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(told_of(stack), std::to_string(own_limit()) + " us: not held now, taken 0 times");
  ASSERT_TRUE(stack.unmount());
}

TEST(Wakeup, IsAskedForByEachMountForItself) {
  VARVE_NEEDS(kWakeup);
  const std::int32_t more = own_limit() + 20'000;
  MountedStack strict(asking_for(own_limit()));
  MountedStack lax(asking_for(more));
  ASSERT_TRUE(strict.mount());
  ASSERT_TRUE(lax.mount());
  {
    const Requests lax_requests(lax);
    {
      const Requests strict_requests(strict);
      EXPECT_TRUE(becomes([&] { return is_held(strict); }));
      EXPECT_TRUE(becomes([&] { return is_held(lax); }));
      EXPECT_TRUE(becomes([] { return least_asked_us() <= own_limit(); }));
    }
    EXPECT_TRUE(becomes([&] {
      const std::int32_t least = least_asked_us();
      return least != own_limit() && least <= more;
    }));
  }
  EXPECT_TRUE(becomes([&] { return least_asked_us() != more; }));
  ASSERT_TRUE(strict.unmount());
  ASSERT_TRUE(lax.unmount());
}

TEST(Wakeup, EndsWithADaemonThatIsKilled) {
  VARVE_NEEDS(kWakeup);
  MountedStack stack(asking_for(own_limit()));
  ASSERT_TRUE(stack.mount());
  const Requests requests(stack);
  EXPECT_TRUE(becomes([&] { return is_held(stack); }));
  stack.kill();
  EXPECT_NE(least_asked_us(), own_limit());
}

TEST(Wakeup, IsLeftAloneUnlessItIsAskedFor) {
  MountedStack stack(StackShape{.lowers = 1});
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(descriptors_of(stack.daemon(), kDevice), 0U);
  EXPECT_EQ(told_of(stack), "not used: not asked for");
  ASSERT_TRUE(stack.unmount());
}

// As an ordinary user has it, or a /dev without it: the device cannot be opened.
class NoDevice {
 public:
  NoDevice() {
    if (!lack_of(Right::kWakeup).empty()) return;
    covered_ = ::mount(kDevice, kDevice, nullptr, MS_BIND, nullptr) == 0;
    EXPECT_TRUE(covered_);
    EXPECT_EQ(outcome(::mount(nullptr, kDevice, nullptr, MS_REMOUNT | MS_BIND | MS_NODEV, nullptr)), "ok");
  }
  NoDevice(const NoDevice&) = delete;
  NoDevice& operator=(const NoDevice&) = delete;
  ~NoDevice() {
    if (covered_) ::umount2(kDevice, MNT_DETACH);
  }

 private:
  bool covered_ = false;
};

TEST(Wakeup, ThatCannotBeAskedForIsSaidAndTheMountGoesOn) {
  const NoDevice no_device;
  MountedStack stack(asking_for(own_limit()));
  write_file(stack.lower(0, "a"), "content");
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("a")), "content");
  const std::string limit = std::to_string(own_limit());
  EXPECT_NE(stack.log().find("option wakeup_us=" + limit + ": "), std::string::npos) << stack.log();
  EXPECT_NE(stack.log().find("or leave the option out"), std::string::npos) << stack.log();
  EXPECT_TRUE(told_of(stack).starts_with(limit + " us: not used: ")) << told_of(stack);
  ASSERT_TRUE(stack.unmount());
}

}  // namespace
}  // namespace varve::test
