#pragma once

// The values of resource limits as they are typed, read strictly: nothing is rounded or guessed. Each function names
// `option` in its Failure. Thread rule: stateless.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fs/base/result.h"

namespace varve::launcher {

// "52428800", "50m", "1.5g", "64KiB": a number with b, k, m, g, t or p, powers of 1024, in either case; "B" and "iB" may
// follow, as docker and podman take it (docker/go-units RAMInBytes). Returns: bytes, at most INT64_MAX.
ResultOrFailure<std::uint64_t> parse_size(std::string_view option, std::string_view text);

// A whole number within [least, most].
ResultOrFailure<std::int64_t> parse_number(std::string_view option, std::string_view text,
                                           std::pair<std::int64_t, std::int64_t> range);

// "0.5" processors. Returns: microseconds of time in each kCpuPeriodUs; 0 for "0", which limits nothing.
// The least that the kernel takes is 1000 us (kernel/sched/core.c, min_cfs_quota_period).
inline constexpr std::uint64_t kCpuPeriodUs = 100'000;
ResultOrFailure<std::uint64_t> parse_cpus(std::string_view option, std::string_view text);

// "0-3,5": the list form of cpuset(7). Returns: the text itself.
ResultOrFailure<std::string> parse_cpu_list(std::string_view option, std::string_view text);

struct DeviceRate {
  std::string path;
  std::string rate;
};
// "PATH:RATE", split at the last colon.
ResultOrFailure<DeviceRate> split_device_rate(std::string_view option, std::string_view text);

// "50 MiB" where it is a whole number of a unit, else the next smaller: for people.
std::string size_text(std::uint64_t bytes);

}  // namespace varve::launcher
