#pragma once

// kernel_filesystems: /proc and /sys of the container, and what is hidden or held read-only in them. Paths are resolved
// within the mounted file system itself, so nothing of the image has a say.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <vector>

#include "fs/base/result.h"
#include "launcher/cgroup/limit_plan.h"
#include "launcher/masked_paths.h"
#include "launcher/namespaces.h"
#include "launcher/options/setting_options.h"

namespace varve::launcher {

struct KernelFilesystems {
  NamespaceSet apart;   // that are not the host's
  NamespaceSet joined;  // of those, another container's
  const MaskedPaths& masked;
  const std::vector<Sysctl>& sysctls;
  const std::vector<GroupPlan>& groups;    // the control groups of the container
  bool forbids_cgroup_namespaces = false;  // see kernel_settings.h
};

// Mounts /proc and /sys below `root_fd`: new ones where its pid and net namespace are not the host's, the host's
// (read-only for /sys) where they are. `null_fd` is the host's null device, which files are hidden with.
StatusOrFailure mount_kernel_filesystems(int root_fd, int null_fd, const KernelFilesystems& wanted);

// Hides the paths that lie neither in /proc nor in /sys, links followed within the root. Call when all else is mounted.
StatusOrFailure hide_paths_of_image(int root_fd, int null_fd, const MaskedPaths& masked);

}  // namespace varve::launcher
