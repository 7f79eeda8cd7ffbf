#pragma once

// delegation: under which group the containers' groups may be made. Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "launcher/cgroup/hierarchies.h"

namespace varve::launcher {

struct GroupBase {
  std::string directory;
  // Version 2: the calling process is the only one in the group, and must leave it before controllers can be enabled for
  // groups below (the "no internal processes" rule of cgroups(7)).
  bool is_occupied = false;
};

// For root the mount point. For others: version 1: his own group, where it is his. Version 2: the highest group, from his
// own upwards, that is his and may have controllers for groups below: enabled already, or without processes in it.
// Returns: a Failure that names `option`, and says what to do.
ResultOrFailure<GroupBase> find_group_base(const CgroupHierarchy& hierarchy, const CgroupHost& host,
                                           bool is_root, const std::string& option);

}  // namespace varve::launcher
