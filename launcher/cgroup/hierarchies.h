#pragma once

// CgroupHierarchy: the trees of control groups that can be seen here, and which of their groups is ours. A host has one
// tree of version 2, several of version 1 with one or more controllers each, or both (hybrid): cgroups(7), cgroup v2 in
// Documentation/admin-guide/cgroup-v2.rst of the kernel. Plain values; read once, before anything is planned.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct CgroupHierarchy {
  bool is_v2 = false;
  std::string mount_point;
  // Version 1: as mounted together, without "name=...". Version 2: what cgroup.controllers of the mount point lists.
  std::vector<std::string> controllers;
  std::string own_group;  // directory of the calling process's group; empty when it is not visible here
  bool read_only = false;

  bool has(std::string_view controller) const;
};

// What planning needs to know of the host's control groups; a parameter, so that tests can use a tree of plain files.
struct CgroupHost {
  std::vector<CgroupHierarchy> hierarchies;
  // Whether this process may change the file or directory.
  std::function<bool(const std::string&)> may_write;
  // Whether device filters may be set: version 1 wants CAP_SYS_ADMIN, version 2 loads a BPF program.
  bool may_filter_devices = false;

  // Null when no tree has the controller.
  const CgroupHierarchy* find(std::string_view controller) const;
  const CgroupHierarchy* find_v2() const;
};

// `mountinfo`: /proc/self/mountinfo, `groups`: /proc/self/cgroup (proc(5), cgroups(7)). The first mount of a tree counts.
std::vector<CgroupHierarchy> parse_hierarchies(std::string_view mountinfo, std::string_view groups);

// Of this process. A host without control groups, or without /proc, has no hierarchies.
CgroupHost cgroups_of_this_host();

}  // namespace varve::launcher
