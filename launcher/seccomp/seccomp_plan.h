#pragma once

// SeccompPlan: which system calls a container may use, decided; and its last step, putting the filter into force.
// Thread rule: stateless.

#include <linux/filter.h>

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/capabilities.h"

namespace varve::launcher {

struct SeccompPlan {
  std::string profile = "unconfined";       // "default", "unconfined", or the path of a profile
  std::vector<struct sock_filter> program;  // empty: unconfined
  unsigned flags = 0;                       // of seccomp(2)
};

// `chosen`: what was typed after seccomp=: a path, "unconfined", "default"; nothing is the default profile.
// `capabilities`: the bounding set. Returns: a Failure that names the file and what is wrong with it.
ResultOrFailure<SeccompPlan> plan_seccomp(const std::optional<std::string>& chosen,
                                          CapabilitySet capabilities);

// For --dry-run, without a newline.
std::string to_text(const SeccompPlan& plan);

// From here on the calling thread and what it executes has the filter; nothing happens without a program.
// Requires: no_new_privs, or CAP_SYS_ADMIN in force. Returns: EACCES without them, EINVAL for a program the kernel
// refuses or a kernel without CONFIG_SECCOMP_FILTER.
Status install_filter(const SeccompPlan& plan);

}  // namespace varve::launcher
