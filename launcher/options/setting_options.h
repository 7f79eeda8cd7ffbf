#pragma once

// --ulimit, --umask, --sysctl: settings of the kernel for one container, spelled as in podman-run(1). Plain values; thread
// rule: stateless.

#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/namespaces.h"

namespace varve::launcher {

class OptionList;

// What was typed.
struct SettingOptions {
  std::vector<std::string> limits;   // NAME=SOFT[:HARD]
  std::vector<std::string> sysctls;  // NAME=VALUE
  std::string umask;                 // octal
};
void declare_setting_options(OptionList& list, SettingOptions& options);

// A resource limit of setrlimit(2); RLIM_INFINITY is unlimited.
struct ResourceLimit {
  int resource = 0;
  std::string name;
  struct rlimit value = {};
};
// A value below /proc/sys.
struct Sysctl {
  std::string path;  // "kernel/shmmax"
  std::string value;
};

// Both or neither of two words with ':' between; -1 and "unlimited" mean no limit. "host" leaves all as it is, which is what
// happens without. Returns: a Failure for a name that podman does not know, a soft limit above the hard one, ...
ResultOrFailure<std::vector<ResourceLimit>> choose_limits(const std::vector<std::string>& words);

// Only what belongs to a namespace that the container has of its own: kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* to
// ipc, net.* to net. Anything else would change the host.
ResultOrFailure<std::vector<Sysctl>> choose_sysctls(const std::vector<std::string>& words, NamespaceSet own);

// Empty: 0022.
ResultOrFailure<mode_t> choose_umask(const std::string& text);

// For --dry-run, a line each.
std::string to_text(const std::vector<ResourceLimit>& limits);
std::string to_text(const std::vector<Sysctl>& sysctls);

}  // namespace varve::launcher
