// as_range_tree(): the same decisions as the program it is given, in fewer steps. Programs are those of libseccomp, and
// ones written here.

#include "launcher/seccomp/range_tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <random>
#include <set>
#include <string>

#include "launcher/seccomp/bpf_steps.h"
#include "launcher/seccomp/default_filter.h"
#include "launcher/seccomp/filter.h"
#include "launcher/seccomp/seccomp_plan.h"
#include "tests/unit/launcher/bpf_interpreter.h"
#include "tests/unit/launcher/seccomp_samples.h"

namespace varve::launcher {
namespace {

using Program = std::vector<struct sock_filter>;

constexpr std::uint32_t kNumber = offsetof(struct seccomp_data, nr);
constexpr std::uint32_t kArchitecture = offsetof(struct seccomp_data, arch);
constexpr std::uint32_t kFirstArgument = offsetof(struct seccomp_data, args);

auto count_steps(const Program& program, std::uint16_t code, std::uint32_t k) {
  return std::count_if(program.begin(), program.end(), [code, k](const struct sock_filter& step) {
    return step.code == code && step.k == k;
  });
}

bool has_far_jump(const Program& program) {
  return std::any_of(program.begin(), program.end(),
                     [](const struct sock_filter& step) { return step.code == kJump && step.k > 255; });
}

bool same_steps(const Program& one, const Program& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](const struct sock_filter& a, const struct sock_filter& b) {
                      return a.code == b.code && a.jt == b.jt && a.jf == b.jf && a.k == b.k;
                    });
}

// What is tried of each word, arguments in pairs.
struct Samples {
  std::set<std::uint32_t> architectures;
  std::set<std::uint32_t> numbers;
  std::vector<std::uint64_t> arguments;
};

// What the programs compare something with, and its neighbours.
std::set<std::uint32_t> borders_in(std::initializer_list<const Program*> programs) {
  std::set<std::uint32_t> values = {0, INT32_MAX, UINT32_MAX};
  for (const Program* program : programs) {
    for (const struct sock_filter& step : *program) {
      if (BPF_CLASS(step.code) == BPF_JMP) values.insert({step.k - 1, step.k, step.k + 1});
    }
  }
  return values;
}

Samples samples_for(const Program& one, const Program& other, const SeccompProfile& profile) {
  Samples samples = {.architectures = {0, AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, UINT32_MAX},
                     .numbers = borders_in({&one, &other}),
                     .arguments = telling_values({&profile})};
  for (const Machine& machine : kMachines) {
    samples.architectures.insert({machine.audit_arch - 1, machine.audit_arch, machine.audit_arch + 1});
    for (std::uint32_t number = 0; number < kCallNumbers; ++number) {
      samples.numbers.insert(number | machine.call_bits);
    }
  }
  return samples;
}

bool decide_alike(const Program& one, const Program& other, const struct seccomp_data& call) {
  const std::uint32_t first = run_filter(one, call);
  const std::uint32_t second = run_filter(other, call);
  EXPECT_EQ(first, second) << std::hex << "number 0x" << call.nr << " of 0x" << call.arch << " with 0x"
                           << call.args[0] << ", 0x" << call.args[1];
  return first == second;
}

// Arguments are tried where either program looks at them.
bool decide_alike(const Program& one, const Program& other, const Samples& samples) {
  for (const std::uint32_t architecture : samples.architectures) {
    for (const std::uint32_t number : samples.numbers) {
      struct seccomp_data call = {.nr = static_cast<int>(number), .arch = architecture};
      if (!decide_alike(one, other, call)) return false;
      if (!follow_filter(one, call).saw_arguments && !follow_filter(other, call).saw_arguments) continue;
      for (const std::uint64_t first : samples.arguments) {
        for (const std::uint64_t second : samples.arguments) {
          const std::array<std::uint64_t, 6> all = {first, second, second, first, second, first};
          std::copy(all.begin(), all.end(), std::begin(call.args));
          if (!decide_alike(one, other, call)) return false;
        }
      }
    }
  }
  return true;
}

Program by_libseccomp(const SeccompProfile& profile, CapabilitySet capabilities = {}) {
  auto filter = compile_with_libseccomp(
      profile, {.capabilities = capabilities, .architecture = SCMP_ARCH_X86_64, .kernel = {6, 1}}, "profile");
  EXPECT_TRUE(filter.ok()) << filter.error().message;
  return filter.ok() ? std::move(filter->program) : Program();
}

TEST(RangeTree, DecidesOfTheDefaultProfileAsLibseccomp) {
  const SeccompProfile profile = profile_of(default_profile_text());
  for (const CapabilitySet set : {CapabilitySet::defaults(), CapabilitySet(), CapabilitySet::all()}) {
    SCOPED_TRACE(set.text());
    const Program given = by_libseccomp(profile, set);
    const Program tree = as_range_tree(given);
    EXPECT_TRUE(decide_alike(given, tree, samples_for(given, tree, profile)));
    EXPECT_LE(tree.size(), 250U);
    EXPECT_GT(given.size(), 4 * tree.size());
  }
}

TEST(RangeTree, DecidesOfTheDefaultProfileWithFewComparisons) {
  const SeccompProfile profile = profile_of(default_profile_text());
  const Program tree = as_range_tree(by_libseccomp(profile));
  const int most_with_arguments = 14;
  const int most = 11;
  const Samples samples = samples_for(tree, {}, profile);
  for (const std::uint32_t architecture : samples.architectures) {
    for (const std::uint32_t number : samples.numbers) {
      const FilterAnswer answer =
          follow_filter(tree, {.nr = static_cast<int>(number), .arch = architecture, .args = {16, 0, 9}});
      EXPECT_LE(answer.comparisons, answer.saw_arguments ? most_with_arguments : most) << number;
    }
  }
}

// `rules`: in JSON.
SeccompProfile profile_for_all_machines(const char* default_action, const std::vector<std::string>& rules) {
  return profile_of(fmt::format(R"({{"defaultAction": "{}", "archMap": [{{"architecture": "SCMP_ARCH_X86_64",
      "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}}], "syscalls": [{}]}})",
                                default_action, fmt::join(rules, ", ")));
}

// Each call of each machine has an answer of its own, so that nothing is a range. `kept`: allowed.
SeccompProfile profile_without_ranges(const std::set<std::string>& kept = {}) {
  std::set<std::string> names;
  for (const Machine& machine : kMachines) {
    for (int number = 0; number < kCallNumbers; ++number) {
      char* name = ::seccomp_syscall_resolve_num_arch(machine.token, number);
      if (name != nullptr && kept.count(name) == 0) names.insert(name);
      std::free(name);
    }
  }
  std::vector<std::string> rules;
  for (const std::string& name : names) {
    rules.push_back(fmt::format(R"({{"names": ["{}"], "action": "SCMP_ACT_ERRNO", "errnoRet": {}}})", name,
                                rules.size() + 1));
  }
  return profile_for_all_machines("SCMP_ACT_ALLOW", rules);
}

TEST(RangeTree, JumpsFarWhereItMust) {
  const SeccompProfile profile = profile_without_ranges();
  const Program given = by_libseccomp(profile);
  const Program tree = as_range_tree(given);
  EXPECT_GT(tree.size(), 1000U);
  EXPECT_TRUE(has_far_jump(tree));
  EXPECT_GT(count_steps(tree, kDecide, SECCOMP_RET_ALLOW), 1);
  EXPECT_FALSE(same_steps(tree, given));
  EXPECT_TRUE(decide_alike(given, tree, samples_for(given, tree, profile)));
}

TEST(RangeTree, TheKernelTakesFarJumps) {
  if (::seccomp_arch_native() != SCMP_ARCH_X86_64) GTEST_SKIP() << "the filter is for another architecture";
  const Program program = as_range_tree(by_libseccomp(profile_without_ranges({"exit_group"})));
  ASSERT_TRUE(has_far_jump(program));
  const std::array<int, 6> calls = {SYS_getpid, SYS_getuid, SYS_umask, SYS_sync, SYS_sched_yield, SYS_kcmp};
  std::array<int, 6> expected{};
  std::transform(calls.begin(), calls.end(), expected.begin(), [&](int call) {
    return static_cast<int>(run_filter(program, {.nr = call, .arch = AUDIT_ARCH_X86_64}) & SECCOMP_RET_DATA);
  });
  const pid_t child = ::fork();
  if (child == 0) {
    // Not ::_exit(), before which the address sanitizer makes calls of its own.
    const auto end = [](int status) { ::syscall(SYS_exit_group, status); };
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!install_filter({"profile", program, 0}).ok()) end(100);
    for (std::size_t index = 0; index < calls.size(); ++index) {
      if (::syscall(calls[index]) != -1 || errno != expected[index]) end(101 + static_cast<int>(index));
    }
    end(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0) << "which check of the child failed";
}

TEST(RangeTree, ComparesArgumentsAsLibseccomp) {
  // Values of one half, and of both.
  for (const std::uint64_t value : {7ULL, 7ULL << 32U, 5ULL << 32U | 7ULL}) {
    for (const char* comparison : {"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"}) {
      SCOPED_TRACE(fmt::format("{} {:#x}", comparison, value));
      const SeccompProfile profile = profile_for_all_machines(
          "SCMP_ACT_KILL_PROCESS",
          {fmt::format(R"({{"names": ["read", "write", "getpid", "socket"], "action": "SCMP_ACT_ALLOW",
              "args": [{{"index": 0, "op": "SCMP_CMP_{}", "value": {}, "valueTwo": 5}}]}})",
                       comparison, value),
           fmt::format(R"({{"names": ["getuid", "write"], "action": "SCMP_ACT_ERRNO",
              "args": [{{"index": 2, "op": "SCMP_CMP_EQ", "value": 3}},
                       {{"index": 5, "op": "SCMP_CMP_{}", "value": 9, "valueTwo": 1}}]}})",
                       comparison),
           R"({"names": ["close"], "action": "SCMP_ACT_LOG"})"});
      const Program given = by_libseccomp(profile);
      const Program tree = as_range_tree(given);
      EXPECT_FALSE(same_steps(tree, given));
      EXPECT_TRUE(decide_alike(given, tree, samples_for(given, tree, profile)));
    }
  }
}

// A program that a filter may be, at random: jumps lead ahead, and the last step decides. Few constants, so that they
// meet.
Program random_program(std::mt19937& random) {
  const auto below = [&random](std::size_t end) { return random() % end; };
  constexpr std::array<std::uint32_t, 9> kConstants = {
      0, 1, 2, 5, 6, 0x40000000, AUDIT_ARCH_I386, AUDIT_ARCH_X86_64, UINT32_MAX};
  constexpr std::array<std::uint32_t, 5> kWords = {kNumber, kArchitecture, kFirstArgument, kFirstArgument + 4,
                                                   kFirstArgument + 8};
  constexpr std::array<std::uint16_t, 3> kComparisons = {kIfEqual, kIfGreater, kIfNotLess};
  const std::size_t size = 4 + below(60);
  Program program = {BPF_STMT(kLoad, kWords.at(below(5)))};
  while (program.size() < size - 1) {
    const std::size_t room = std::min<std::size_t>(size - program.size() - 1, 12);
    const auto ahead = [&] { return static_cast<std::uint8_t>(below(room)); };
    const std::size_t kind = below(20);
    if (kind < 5) {
      program.push_back(BPF_STMT(kLoad, kWords.at(below(kWords.size()))));
    } else if (kind == 5 && program.back().code == kLoad && program.back().k >= kFirstArgument) {
      // A jump may lead here from where the number is loaded: then nothing is understood, which is right, too.
      program.push_back(BPF_STMT(kMask, kConstants.at(below(kConstants.size()))));
    } else if (kind == 6) {
      program.push_back(BPF_STMT(kJump, ahead()));
    } else if (kind == 7) {
      program.push_back(BPF_STMT(kDecide, static_cast<std::uint32_t>(below(3))));
    } else {
      program.push_back(BPF_JUMP(kComparisons.at(below(kComparisons.size())),
                                 kConstants.at(below(kConstants.size())), ahead(), ahead()));
    }
  }
  program.push_back(BPF_STMT(kDecide, SECCOMP_RET_ALLOW));
  return program;
}

TEST(RangeTree, DecidesAsProgramsAtRandom) {
  std::mt19937 random(1);  // NOLINT: the same ones each time
  int understood = 0;
  const int programs = 200;
  for (int round = 0; round < programs; ++round) {
    const Program given = random_program(random);
    const Program tree = as_range_tree(given);
    understood += same_steps(given, tree) ? 0 : 1;
    const std::set<std::uint32_t> borders = borders_in({&given, &tree});
    Samples samples = {borders, borders, {UINT64_MAX}};
    for (const std::uint64_t border : borders) samples.arguments.push_back(border << 32U | (border ^ 1U));
    SCOPED_TRACE(round);
    ASSERT_TRUE(decide_alike(given, tree, samples));
  }
  EXPECT_GT(understood, programs * 9 / 10);
}

TEST(RangeTree, NeighboursWithOneAnswerAreOneRange) {
  Program given = {BPF_STMT(kLoad, kNumber)};
  for (std::uint32_t number = 10; number < 110; ++number) {
    given.push_back(BPF_JUMP(kIfEqual, number, 0, 1));
    given.push_back(BPF_STMT(kDecide, SECCOMP_RET_ALLOW));
  }
  given.push_back(BPF_STMT(kDecide, SECCOMP_RET_TRAP));
  const Program tree = as_range_tree(given);
  EXPECT_EQ(tree.size(), 5U);  // the number; not less than 10, than 110; two decisions
  EXPECT_TRUE(decide_alike(given, tree, {{0}, borders_in({&given}), {}}));
}

TEST(RangeTree, OneValueInARangeIsOneComparison) {
  const Program given = {BPF_STMT(kLoad, kArchitecture),      BPF_STMT(kLoad, kNumber),
                         BPF_JUMP(kIfNotLess, 8, 0, 2),       BPF_JUMP(kIfGreater, 8, 1, 0),
                         BPF_STMT(kDecide, SECCOMP_RET_TRAP), BPF_STMT(kDecide, SECCOMP_RET_ALLOW)};
  EXPECT_TRUE(same_steps(as_range_tree(given),
                         {BPF_STMT(kLoad, kNumber), BPF_JUMP(kIfEqual, 8, 0, 1),
                          BPF_STMT(kDecide, SECCOMP_RET_TRAP), BPF_STMT(kDecide, SECCOMP_RET_ALLOW)}));
}

TEST(RangeTree, WhatDoesNotMatterIsNotCompared) {
  const Program given = {BPF_STMT(kLoad, kFirstArgument), BPF_JUMP(kIfEqual, 1, 0, 1),
                         BPF_STMT(kDecide, SECCOMP_RET_TRAP), BPF_STMT(kDecide, SECCOMP_RET_TRAP)};
  EXPECT_TRUE(same_steps(as_range_tree(given), {BPF_STMT(kDecide, SECCOMP_RET_TRAP)}));
}

TEST(RangeTree, ProgramsThatAreNotUnderstoodStayAsTheyAre) {
  const auto stays = [](const struct sock_filter& step) {
    const Program given = {BPF_STMT(kLoad, kNumber), step, BPF_JUMP(kIfEqual, 1, 0, 1),
                           BPF_STMT(kDecide, SECCOMP_RET_TRAP), BPF_STMT(kDecide, SECCOMP_RET_ALLOW)};
    return same_steps(as_range_tree(given), given);
  };
  EXPECT_TRUE(stays(BPF_STMT(kMask, 0xff)));
  EXPECT_TRUE(stays(BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1)));
  EXPECT_TRUE(stays(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1)));
  EXPECT_TRUE(stays(BPF_STMT(kJump, 100)));
  EXPECT_FALSE(stays(BPF_STMT(kLoad, kNumber)));
  // The accumulator of nothing loaded.
  const Program empty = {BPF_JUMP(kIfEqual, 0, 0, 1), BPF_STMT(kDecide, 0), BPF_STMT(kDecide, 1)};
  EXPECT_TRUE(same_steps(as_range_tree(empty), empty));
  EXPECT_TRUE(as_range_tree({}).empty());
}

TEST(RangeTree, AProgramThatWouldBeTooLongStaysAsItIs) {
  Program given = {BPF_STMT(kLoad, kNumber)};
  for (std::uint32_t number = 0; given.size() < BPF_MAXINSNS - 2; number += 2) {
    given.push_back(BPF_JUMP(kIfEqual, number, 0, 1));
    given.push_back(BPF_STMT(kDecide, SECCOMP_RET_ERRNO | number));
  }
  given.push_back(BPF_STMT(kDecide, SECCOMP_RET_ALLOW));
  EXPECT_TRUE(same_steps(as_range_tree(given), given));
}

}  // namespace
}  // namespace varve::launcher
