#pragma once

// volumes: what a MountPlan says, done in the container's first process: sources are opened while the host is in sight, with the
// rights of the user who runs us; targets are resolved beneath the container's root, in which a link may lead anywhere but out.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/mount_plan.h"

namespace varve::launcher {

// The source of one mount or device of a plan.
struct OpenSource {
  UniqueFd
      fd;  // bind, device: a copy of the mount, not yet attached; volume: its directory in the store; tmpfs: invalid
  bool is_directory = true;  // so is its target
};

// For each of `plan.mounts`, then each of `plan.devices`. A volume's directory in the store is made when it is missing.
// Requires: mounts are private (make_propagation_private), and the container's root is not attached yet, or a bind of the
// host's "/" would take it along.
ResultOrFailure<std::vector<OpenSource>> open_mount_sources(const MountPlan& plan);

// Makes the targets that the image lacks, for a root that is about to become read-only. What cannot be made is told by
// mount_volumes.
void make_mount_points(int root_fd, const MountPlan& plan, const std::vector<OpenSource>& sources);

// Fills volumes that are new, then mounts all in order. Requires: /proc, /sys and /dev of the container are mounted, so that a
// target that leads there is recognised.
StatusOrFailure mount_volumes(int root_fd, const MountPlan& plan, const std::vector<OpenSource>& sources);

}  // namespace varve::launcher
