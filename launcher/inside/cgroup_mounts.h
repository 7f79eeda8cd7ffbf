#pragma once

// cgroup_mounts: what the container sees of its control groups. Thread rule: one thread; acts on the namespaces of the
// calling process.

#include <vector>

#include "fs/base/result.h"
#include "launcher/cgroup/limit_plan.h"

namespace varve::launcher {

// A cgroup namespace whose root, in each tree, is the group that the process is in now (cgroup_namespaces(7)).
// Requires: the process is in the container's groups already.
StatusOrFailure make_cgroup_namespace();

// Mounts the container's part of the trees on fs/cgroup of the sysfs that `sys_fd` refers to, read-only: a host with
// version 2 alone: that tree; otherwise a tmpfs with the trees that `groups` lie in, by the names they have on the host.
// Not where the sysfs or the cgroup namespace is the host's: there all is as the host has it.
// The groups are bound from the host's trees, which must still be in sight: half the calls of a mount of the tree, and the same is
// seen. `joined`: the cgroup namespace is another container's, and without groups of ours there is nothing to show.
StatusOrFailure mount_cgroups(int sys_fd, const std::vector<GroupPlan>& groups, bool joined);

}  // namespace varve::launcher
