#pragma once

// kernel_filesystems: /proc and /sys of the container, and what is hidden or held read-only in them. The lists are those
// that container engines share (containers/common pkg/config, moby oci/defaults.go); paths are resolved within the
// mounted file system itself, so nothing of the image has a say.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <vector>

#include "fs/base/result.h"
#include "launcher/cgroup/limit_plan.h"
#include "launcher/namespaces.h"

namespace varve::launcher {

// Mounts /proc and /sys below `root_fd`: new ones where the container has its own pid and net namespace, the host's
// (read-only for /sys) where it shares them. `null_fd` is the host's null device, which files are masked with; `groups` are the container's
// control groups.
StatusOrFailure mount_kernel_filesystems(int root_fd, int null_fd, NamespaceSet own,
                                         const std::vector<GroupPlan>& groups);

}  // namespace varve::launcher
