#pragma once

// limit_settings: from the options to values in the files of control groups, for both versions. Which group a value goes
// to is not decided here. Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel.
// Thread rule: stateless.

#include <map>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/cgroup/limit_plan.h"
#include "launcher/options/limit_options.h"

namespace varve::launcher {

// A setting, by controller, for each version.
struct WantedSetting {
  const char* controller;  // of version 2: cpu, cpuset, io, memory, pids
  LimitSetting v1;
  LimitSetting v2;
};

struct WantedLimits {
  std::vector<WantedSetting> settings;
  std::map<std::string, std::string> limits;  // as in LimitPlan
  bool default_pids = false;                  // the limit of processes was not asked for
};

// Reads and checks all options. Devices are looked up (stat(2)): a rate needs the numbers of a disk.
ResultOrFailure<WantedLimits> read_limits(const LimitOptions& options);

// The name that version 1 has for a controller of version 2.
const char* version_1_name(std::string_view controller);

}  // namespace varve::launcher
