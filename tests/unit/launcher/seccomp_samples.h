#pragma once

// What tests of seccomp profiles try: architectures, numbers and arguments.

#include <gtest/gtest.h>
#include <linux/audit.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/seccomp/profile.h"

namespace varve::launcher {

struct Machine {
  std::uint32_t token;       // of libseccomp
  std::uint32_t audit_arch;  // of the kernel
  std::uint32_t call_bits;   // part of each number
};
inline constexpr std::array<Machine, 3> kMachines = {{{SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, 0},
                                                      {SCMP_ARCH_X86, AUDIT_ARCH_I386, 0},
                                                      {SCMP_ARCH_X32, AUDIT_ARCH_X86_64, 0x40000000}}};
inline constexpr int kCallNumbers = 1024;  // more than there are on any of them

inline SeccompProfile profile_of(std::string_view text) {
  auto profile = parse_seccomp_profile(text, "profile");
  EXPECT_TRUE(profile.ok()) << profile.error().message;
  return profile.ok() ? std::move(profile).value() : SeccompProfile();
}

// Values at which some comparison of a profile may change its mind: those it names, their neighbours, and all of them
// with a bit of the upper half, which 32 bit programs do not see.
inline std::vector<std::uint64_t> telling_values(std::initializer_list<const SeccompProfile*> profiles) {
  std::set<std::uint64_t> values = {0, 1, UINT32_MAX, UINT64_MAX};
  for (const SeccompProfile* profile : profiles) {
    for (const SeccompRule& rule : profile->rules) {
      for (const struct scmp_arg_cmp& argument : rule.arguments) {
        for (const std::uint64_t value : {argument.datum_a, argument.datum_b, ~argument.datum_a}) {
          for (const std::uint64_t near : {value - 1, value, value + 1})
            values.insert({near, near ^ (1ULL << 32)});
        }
      }
    }
  }
  return {values.begin(), values.end()};
}

}  // namespace varve::launcher
