#pragma once

// SeccompProfile: a list of system calls and what the kernel shall do at each, as container engines write it in JSON
// (github.com/containers/common pkg/seccomp/types.go; OCI runtime-spec config-linux.md "Seccomp"). A file of a user's is
// untrusted: whatever is wrong with it is told in one sentence. Plain values; thread rule: stateless.

#include <seccomp.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "launcher/capabilities.h"

namespace varve::launcher {

struct KernelVersion {
  int major_number = 0;
  int minor_number = 0;
  friend auto operator<=>(const KernelVersion&, const KernelVersion&) = default;
};

// When a rule counts. Words that nobody here knows (capabilities, architectures) are had by nobody.
struct SeccompPredicate {
  CapabilitySet capabilities;
  bool names_unknown_capability = false;
  std::vector<std::string> architectures;  // as Go calls them: amd64, arm64
  std::optional<KernelVersion> minimum_kernel;
};

struct SeccompRule {
  std::vector<std::string> names;              // of system calls
  std::uint32_t action = 0;                    // SCMP_ACT_...
  std::vector<struct scmp_arg_cmp> arguments;  // all must hold; of those with the same index, one
  SeccompPredicate includes;                   // everything it names must be so
  SeccompPredicate excludes;                   // nothing it names may be so
};

struct SeccompArchitecture {
  std::uint32_t token = 0;               // SCMP_ARCH_...
  std::vector<std::uint32_t> run_by_it;  // others whose programs it runs
};

struct SeccompProfile {
  std::uint32_t default_action = 0;
  std::vector<SeccompArchitecture> architectures;  // those that libseccomp knows
  std::vector<SeccompRule> rules;
  unsigned flags = 0;  // SECCOMP_FILTER_FLAG_... of seccomp(2)
};

// Profiles longer than this are none.
inline constexpr std::size_t kMaxProfileBytes = std::size_t{1} << 20;

// `name`: what the text is called in messages. Returns: a Failure that says what is wrong, and where.
ResultOrFailure<SeccompProfile> parse_seccomp_profile(std::string_view text, const std::string& name);

}  // namespace varve::launcher
