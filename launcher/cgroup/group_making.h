#pragma once

// group_making: makes one control group of a plan and writes its settings. Thread rule: stateless.

#include "fs/base/result.h"
#include "launcher/cgroup/limit_plan.h"

namespace varve::launcher {

// Makes BASE/varve, which stays for the containers to come, and the container's group below it. When that fails half-way
// the group may be there. `more_file_flags`: as in write_group_file().
// Returns: a Failure that names the option which could not be applied.
StatusOrFailure make_group(const GroupPlan& group, int more_file_flags);

// Puts the plan's device filter into force on `group`, whose directory `group_fd` refers to.
StatusOrFailure apply_device_filter(const LimitPlan& plan, const GroupPlan& group, int group_fd,
                                    int more_file_flags);

}  // namespace varve::launcher
