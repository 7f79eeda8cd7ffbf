#pragma once

// stats: `varve stats`: what the kernel counts for running containers, once or again and again. Thread rule: one thread.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/store/container_state.h"
#include "launcher/cgroup/group_statistics.h"

namespace varve::launcher {

struct StatsOptions {
  std::string store;               // empty: image::default_store_path()
  std::vector<std::string> names;  // empty: all that run
  bool once = false;               // --no-stream
  bool json = false;
};

// One reading of one container. `cpu_percent` is of one processor, over the time since the reading before.
struct ContainerReading {
  image::ContainerState state;
  GroupStatistics counted;
  double cpu_percent = 0;
};
std::string statistics_table(const std::vector<ContainerReading>& readings);
std::string statistics_json(const std::vector<ContainerReading>& readings);

// Prints to standard output; without `once` each second until it is interrupted or none of the named containers runs.
// Returns: a Failure, ENOENT, for a name that there is none of; for one that does not run; when standard output is gone.
StatusOrFailure show_statistics(const StatsOptions& options);

}  // namespace varve::launcher
