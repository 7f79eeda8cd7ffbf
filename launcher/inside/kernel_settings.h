#pragma once

// kernel_settings: values below /proc/sys that are the container's own, written while its /proc can still be written.
// Thread rule: one thread; acts on the namespaces of the calling process.

#include <vector>

#include "fs/base/result.h"
#include "launcher/options/setting_options.h"

namespace varve::launcher {

// No further cgroup namespaces in the container's user namespace and those below it. In one of its own, root of a nested
// user namespace may mount a cgroup hierarchy (cgroup_namespaces(7)), whose files of the container's own cgroup belong to
// root: it could lift its limits. `proc_fd`: the container's /proc. Requires: an own user namespace.
StatusOrFailure forbid_cgroup_namespaces(int proc_fd);

// Sets each, below `proc_fd` as above.
StatusOrFailure write_sysctls(int proc_fd, const std::vector<Sysctl>& sysctls);

}  // namespace varve::launcher
