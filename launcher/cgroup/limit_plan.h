#pragma once

// LimitPlan: the control groups that a container gets, and what is written into their files, all decided before anything
// is done. A container has one group in each tree that it needs: BASE/varve/ID. BASE is the root of the tree as it is seen
// here; an ordinary user's is the highest group above his own that is delegated to him (cgroups(7), "Cgroup delegation").
// Groups that nobody asked for (the default number of processes, statistics, the device filter) are left out where they
// cannot be had, and `notes` says so; what was asked for and cannot be had is a Failure.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/cgroup/device_filter.h"
#include "launcher/cgroup/hierarchies.h"
#include "launcher/options/limit_options.h"

namespace varve::launcher {

// One value to be written. Files have other names with other kernels: the first of `files` that exists takes it.
struct LimitSetting {
  struct File {
    std::string name;
    std::string value;
  };
  std::string option;  // the option that asks for it, for messages
  std::vector<File> files;
  bool may_be_absent = false;  // nobody asked for it: a kernel without such a file does without
};

// One group of the container.
struct GroupPlan {
  bool is_v2 = false;
  std::string base;                      // directory above "varve"
  std::string path;                      // BASE/varve/ID
  std::string mounted_as;                // last name of the tree's mount point, as "memory"
  std::vector<std::string> controllers;  // that are used; version 2: enabled in BASE and BASE/varve
  std::vector<LimitSetting> settings;    // in this order
  bool leave_base =
      false;  // version 2: the launcher sits in BASE, where no process may be once controllers are enabled
};

struct LimitPlan {
  std::vector<GroupPlan> groups;  // empty: the container stays in the launcher's groups
  enum class DeviceFilter : std::uint8_t { kNone, kVersion1, kProgram };
  DeviceFilter device_filter = DeviceFilter::kNone;
  // All that is allowed; other concerns add theirs before the plan is carried out.
  std::vector<DeviceRule> devices;
  std::map<std::string, std::string>
      limits;                      // what is in force, by option without "--": for people and the record
  std::vector<std::string> notes;  // what is left out, and why

  // The groups' directories, for the container's record.
  std::vector<std::string> paths() const;
};

struct LimitContext {
  const CgroupHost& host;
  bool is_root = false;           // of the host's ids
  std::string id;                 // the container's
  bool filter_devices = false;    // the container has a /dev of its own
  bool root_is_fuse = false;      // its first process mounts a FUSE file system
  bool may_make_devices = false;  // by what it is allowed besides its control groups
};
ResultOrFailure<LimitPlan> plan_limits(const LimitOptions& options, const LimitContext& context);

// For --dry-run, one line for each thing.
std::string to_text(const LimitPlan& plan);

}  // namespace varve::launcher
