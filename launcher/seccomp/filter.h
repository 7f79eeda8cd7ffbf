#pragma once

// compile_seccomp_filter(): from a profile to the program that the kernel runs at each system call (seccomp(2), BPF of
// linux/filter.h), made by libseccomp and then made smaller (range_tree.h). Thread rule: stateless.

#include <linux/filter.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/seccomp/profile.h"

namespace varve::launcher {

struct SeccompTarget {
  CapabilitySet capabilities;      // the bounding set of the container
  std::uint32_t architecture = 0;  // SCMP_ARCH_..., never SCMP_ARCH_NATIVE
  KernelVersion kernel;
};

struct SeccompFilter {
  std::vector<struct sock_filter> program;
  std::vector<std::string> unknown_calls;  // named by rules that count, and not known to libseccomp: left out
};

// `name`: what the profile is called in messages.
ResultOrFailure<SeccompFilter> compile_seccomp_filter(const SeccompProfile& profile,
                                                      const SeccompTarget& target, const std::string& name);

// The same decisions as libseccomp writes them down, a comparison for each system call: what as_range_tree() starts from.
ResultOrFailure<SeccompFilter> compile_with_libseccomp(const SeccompProfile& profile,
                                                       const SeccompTarget& target, const std::string& name);

// The capabilities that the profile asks for: only these make a difference to its filter.
CapabilitySet capabilities_named_by(const SeccompProfile& profile);

KernelVersion running_kernel();

}  // namespace varve::launcher
