#pragma once

// GroupStatistics: what the kernel counts for a container's groups. Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace varve::launcher {

// Empty: no group of the container counts it.
struct GroupStatistics {
  std::optional<std::uint64_t> memory_bytes;        // with the page cache, as limited
  std::optional<std::uint64_t> memory_limit_bytes;  // empty: unlimited
  std::optional<std::uint64_t> memory_peak_bytes;
  std::optional<std::uint64_t> cpu_ns;  // user and system, of all processors
  std::optional<std::uint64_t> pids;    // processes and threads
  std::optional<std::uint64_t> pids_limit;
  std::optional<std::uint64_t> read_bytes;  // from disks
  std::optional<std::uint64_t> written_bytes;
};

GroupStatistics read_group_statistics(const std::vector<std::string>& groups);

// How many processes of the groups the kernel killed because memory had run out.
std::uint64_t count_oom_kills(const std::vector<std::string>& groups);

}  // namespace varve::launcher
