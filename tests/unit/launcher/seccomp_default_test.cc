// The default profile: that it decides as the one that podman and buildah of Debian 12 ship, and what it decides.

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "imagetool/image/store/digest.h"
#include "launcher/seccomp/default_filter.h"
#include "launcher/seccomp/filter.h"
#include "launcher/seccomp/seccomp_plan.h"
#include "tests/unit/launcher/bpf_interpreter.h"
#include "tests/unit/launcher/seccomp_samples.h"

namespace varve::launcher {
namespace {

constexpr const char* kShipped = "/usr/share/containers/seccomp.json";
// golang-github-containers-common 0.50.1+ds1-4 of Debian 12.
constexpr const char* kShippedDigest =
    "sha256:cc374cf23846ce1f62f4dc807a8e2b8673c783c6f56cb475467621035d281e6c";

constexpr std::uint64_t bit(int capability) {
  return std::uint64_t{1} << static_cast<unsigned>(capability);
}

std::vector<struct sock_filter> filter_of(const SeccompProfile& profile, CapabilitySet capabilities) {
  auto filter = compile_seccomp_filter(
      profile, {.capabilities = capabilities, .architecture = SCMP_ARCH_X86_64, .kernel = {6, 1}}, "profile");
  EXPECT_TRUE(filter.ok()) << filter.error().message;
  return filter.ok() ? std::move(filter->program) : std::vector<struct sock_filter>();
}

// The calls whose arguments matter to a profile.
std::set<std::string> calls_with_conditions(const SeccompProfile& profile) {
  std::set<std::string> calls;
  for (const SeccompRule& rule : profile.rules) {
    if (!rule.arguments.empty()) calls.insert(rule.names.begin(), rule.names.end());
  }
  return calls;
}

std::string name_of(const Machine& machine, int number) {
  char* name =
      ::seccomp_syscall_resolve_num_arch(machine.token, number | static_cast<int>(machine.call_bits));
  std::string text = name == nullptr ? "" : name;
  std::free(name);
  return text;
}

class Comparison {
 public:
  Comparison(const SeccompProfile& ours, const SeccompProfile& shipped)
      : ours_(ours), shipped_(shipped), values_(telling_values({&ours, &shipped})) {
    with_conditions_ = calls_with_conditions(ours);
    with_conditions_.merge(calls_with_conditions(shipped));
    // Where they share one number of the kernel.
    with_conditions_.insert({"socketcall", "ipc"});
  }

  // Compares what both decide of every number, known or not. Returns: how many known calls were compared.
  int compare(CapabilitySet capabilities) const {
    const auto ours = filter_of(ours_, capabilities);
    const auto shipped = filter_of(shipped_, capabilities);
    int known = 0;
    for (const Machine& machine : kMachines) {
      for (int number = 0; number < kCallNumbers; ++number) {
        const std::string name = name_of(machine, number);
        known += name.empty() ? 0 : 1;
        compare_call(ours, shipped, machine, number, name);
      }
    }
    return known;
  }

 private:
  void compare_call(const std::vector<struct sock_filter>& ours,
                    const std::vector<struct sock_filter>& shipped, const Machine& machine, int number,
                    const std::string& name) const {
    struct seccomp_data call = {.nr = number | static_cast<int>(machine.call_bits),
                                .arch = machine.audit_arch};
    const auto same = [&] {
      const std::uint32_t mine = run_filter(ours, call);
      const std::uint32_t theirs = run_filter(shipped, call);
      if (mine == theirs) return true;
      ADD_FAILURE() << fmt::format("{} ({}, {:#x}) with {:#x}, {:#x}, {:#x}: {:#x} instead of {:#x}", name,
                                   call.nr, machine.audit_arch, call.args[0], call.args[1], call.args[2],
                                   mine, theirs);
      return false;
    };
    if (with_conditions_.count(name) == 0) {
      if (!same()) return;
      std::fill(std::begin(call.args), std::end(call.args), UINT64_MAX);
      same();
      return;
    }
    for (const std::uint64_t first : values_) {
      for (const std::uint64_t third : values_) {
        call.args[0] = first;
        call.args[1] = third;
        call.args[2] = third;
        if (!same()) return;
      }
    }
  }

  const SeccompProfile& ours_;
  const SeccompProfile& shipped_;
  std::vector<std::uint64_t> values_;
  std::set<std::string> with_conditions_;
};

TEST(DefaultSeccompProfile, DecidesAsTheOneThatEnginesShip) {
  std::ifstream file(kShipped, std::ios::binary);
  if (!file) GTEST_SKIP() << "there is no " << kShipped << " (package golang-github-containers-common)";
  std::stringstream text;
  text << file.rdbuf();
  if (image::Digest::of(text.str()).text() != kShippedDigest) {
    GTEST_SKIP() << kShipped << " is of another version than Debian 12's, which ours follows";
  }
  const SeccompProfile shipped = profile_of(text.str());
  const SeccompProfile ours = profile_of(default_profile_text());
  EXPECT_EQ(capabilities_named_by(ours), capabilities_named_by(shipped));
  const Comparison comparison(ours, shipped);

  std::vector<std::uint64_t> sets = {CapabilitySet::defaults().mask(), 0, CapabilitySet::all().mask()};
  // Each that matters, alone.
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (capabilities_named_by(ours).contains(CapabilitySet(bit(capability)))) sets.push_back(bit(capability));
  }
  EXPECT_GT(sets.size(), 10U);
  for (const std::uint64_t set : sets) {
    SCOPED_TRACE(CapabilitySet(set).text());
    EXPECT_GT(comparison.compare(CapabilitySet(set)), 1000);
    if (::testing::Test::HasFailure()) return;
  }
}

class DefaultSeccompFilter : public ::testing::Test {
 protected:
  std::uint32_t decide(const char* call, std::uint64_t capabilities = CapabilitySet::defaults().mask(),
                       std::array<std::uint64_t, 3> arguments = {}) const {
    const auto program = filter_of(profile_, CapabilitySet(capabilities));
    const int number = ::seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, call);
    EXPECT_GE(number, 0) << call;
    return run_filter(
        program,
        {.nr = number, .arch = AUDIT_ARCH_X86_64, .args = {arguments[0], arguments[1], arguments[2]}});
  }
  static std::uint32_t refused_with(int error) {
    return SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
  }
  const SeccompProfile profile_ = profile_of(default_profile_text());
};

TEST_F(DefaultSeccompFilter, OrdinaryProgramsAreNotHindered) {
  for (const char* call : {"read", "openat", "execve", "clone", "clone3", "mmap", "futex", "ptrace", "keyctl",
                           "mount", "unshare", "pidfd_open", "chroot", "arch_prctl", "faccessat2"}) {
    EXPECT_EQ(decide(call), SECCOMP_RET_ALLOW) << call;
  }
}

TEST_F(DefaultSeccompFilter, WhatNoContainerNeedsIsRefused) {
  for (const char* call :
       {"kexec_load", "userfaultfd", "swapon", "bpf", "perf_event_open", "open_by_handle_at", "init_module",
        "finit_module", "delete_module", "acct", "iopl", "ioperm", "clock_settime", "settimeofday", "vhangup",
        "sethostname", "kcmp"}) {
    EXPECT_EQ(decide(call), refused_with(EPERM)) << call;
  }
  for (const char* call :
       {"io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key"}) {
    EXPECT_EQ(decide(call), refused_with(ENOSYS)) << call;
  }
}

TEST_F(DefaultSeccompFilter, CapabilitiesOpenWhatBelongsToThem) {
  const auto with = [this](const char* call, int capability) {
    return decide(call, CapabilitySet::defaults().mask() | bit(capability));
  };
  EXPECT_EQ(with("bpf", CAP_SYS_ADMIN), SECCOMP_RET_ALLOW);
  EXPECT_EQ(with("open_by_handle_at", CAP_DAC_READ_SEARCH), SECCOMP_RET_ALLOW);
  EXPECT_EQ(with("finit_module", CAP_SYS_MODULE), SECCOMP_RET_ALLOW);
  EXPECT_EQ(with("clock_settime", CAP_SYS_TIME), SECCOMP_RET_ALLOW);
  EXPECT_EQ(with("kcmp", CAP_SYS_PTRACE), SECCOMP_RET_ALLOW);
  EXPECT_EQ(with("finit_module", CAP_SYS_ADMIN), refused_with(EPERM));
  EXPECT_EQ(with("kexec_load", CAP_SYS_BOOT), refused_with(EPERM));
  EXPECT_EQ(decide("chroot", 0), refused_with(EPERM));
}

TEST_F(DefaultSeccompFilter, ArgumentsDecideWhereTheyMatter) {
  const std::uint64_t none = 0;
  for (const std::uint64_t domain : {0ULL, 8ULL, 0x20000ULL, 0x20008ULL, 0xffffffffULL}) {
    EXPECT_EQ(decide("personality", none, {domain}), SECCOMP_RET_ALLOW) << domain;
  }
  for (const std::uint64_t domain : {1ULL, 9ULL, 0x40000ULL, 0x1ffffffffULL, ~0ULL}) {
    EXPECT_EQ(decide("personality", none, {domain}), refused_with(ENOSYS)) << domain;
  }
  EXPECT_EQ(decide("socket", none, {AF_NETLINK, SOCK_RAW, 9}), refused_with(EINVAL));
  EXPECT_EQ(decide("socket", none, {AF_NETLINK, SOCK_RAW, 0}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(decide("socket", none, {AF_INET, SOCK_STREAM, 9}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(decide("socket", bit(CAP_AUDIT_WRITE), {AF_NETLINK, SOCK_RAW, 9}), SECCOMP_RET_ALLOW);
}

TEST_F(DefaultSeccompFilter, BuiltInOnesAreWhatTheProfileSays) {
  for (const CapabilitySet set : {CapabilitySet::defaults(), CapabilitySet(), CapabilitySet::all()}) {
    const std::span<const struct sock_filter> made = built_in_filter(set);
    ASSERT_FALSE(made.empty());
    if (::seccomp_arch_native() != SCMP_ARCH_X86_64) continue;
    const auto compiled = filter_of(profile_, set);
    ASSERT_EQ(made.size(), compiled.size());
    EXPECT_EQ(std::memcmp(made.data(), compiled.data(), made.size_bytes()), 0);
  }
  EXPECT_TRUE(built_in_filter(CapabilitySet(bit(CAP_SYS_TIME))).empty());
}

// The errno of a call, 0 when it succeeded.
template <class... Arguments>
int try_call(long number, Arguments... arguments) {
  return ::syscall(number, arguments...) >= 0 ? 0 : errno;
}

TEST(InstallFilter, TheKernelAnswersAsTheFilterSays) {
  const auto plan = plan_seccomp(std::nullopt, CapabilitySet::defaults());
  ASSERT_TRUE(plan.ok());
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!install_filter(*plan).ok()) ::_exit(1);
    if (try_call(SYS_bpf, 0, nullptr, 0) != EPERM) ::_exit(2);
    if (try_call(SYS_io_uring_setup, 1, nullptr) != ENOSYS) ::_exit(3);
    if (try_call(SYS_personality, ADDR_NO_RANDOMIZE) != ENOSYS) ::_exit(4);
    if (try_call(SYS_personality, PER_LINUX) != 0) ::_exit(5);
    if (try_call(SYS_socket, AF_NETLINK, SOCK_RAW, 9) != EINVAL) ::_exit(6);
    if (try_call(SYS_getpid) != 0) ::_exit(7);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0) << "which check of the child failed";
}

}  // namespace
}  // namespace varve::launcher
