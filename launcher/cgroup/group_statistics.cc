#include "launcher/cgroup/group_statistics.h"

#include <charconv>
#include <string_view>

#include "launcher/cgroup/group_files.h"

namespace varve::launcher {
namespace {

using Groups = std::vector<std::string>;

// Of the first group that has the file.
std::optional<std::uint64_t> first_number(const Groups& groups, const char* file) {
  for (const std::string& group : groups) {
    if (const auto number = read_number(group + "/" + file)) return number;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> first_keyed_number(const Groups& groups, const char* file,
                                                std::string_view key) {
  for (const std::string& group : groups) {
    if (const auto number = read_keyed_number(group + "/" + file, key)) return number;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> either(std::optional<std::uint64_t> one, std::optional<std::uint64_t> other) {
  return one ? one : other;
}

// Version 1 writes "unlimited" as the greatest number of whole pages.
std::optional<std::uint64_t> limited(std::optional<std::uint64_t> bytes) {
  constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 62;
  return bytes && *bytes < kUnlimited ? bytes : std::nullopt;
}

std::uint64_t number_at(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// Adds up over all disks: "8:0 Read 4096" of version 1, "8:0 rbytes=4096 wbytes=0 ..." of version 2; `marker` stands
// before the number.
std::optional<std::uint64_t> sum_over_disks(const Groups& groups, const char* file, std::string_view marker) {
  for (const std::string& group : groups) {
    const Result<std::string> text = read_group_file(group + "/" + file);
    if (!text.ok()) continue;
    std::uint64_t sum = 0;
    for (std::size_t at = text->find(marker); at != std::string::npos; at = text->find(marker, at + 1)) {
      sum += number_at(std::string_view(*text).substr(at + marker.size()));
    }
    return sum;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> cpu_time_ns(const Groups& groups) {
  constexpr std::uint64_t kNsPerUs = 1000;
  if (const auto time_ns = first_number(groups, "cpuacct.usage")) return time_ns;
  const auto time_us = first_keyed_number(groups, "cpu.stat", "usage_usec");
  return time_us ? std::optional(*time_us * kNsPerUs) : std::nullopt;
}

std::optional<std::uint64_t> disk_bytes(const Groups& groups, std::string_view v1_marker,
                                        std::string_view v2_marker) {
  return either(sum_over_disks(groups, "blkio.throttle.io_service_bytes_recursive", v1_marker),
                sum_over_disks(groups, "io.stat", v2_marker));
}

}  // namespace

GroupStatistics read_group_statistics(const Groups& groups) {
  GroupStatistics counted;
  counted.memory_bytes =
      either(first_number(groups, "memory.usage_in_bytes"), first_number(groups, "memory.current"));
  counted.memory_limit_bytes =
      limited(either(first_number(groups, "memory.limit_in_bytes"), first_number(groups, "memory.max")));
  counted.memory_peak_bytes =
      either(first_number(groups, "memory.max_usage_in_bytes"), first_number(groups, "memory.peak"));
  counted.cpu_ns = cpu_time_ns(groups);
  counted.pids = first_number(groups, "pids.current");
  counted.pids_limit = first_number(groups, "pids.max");
  counted.read_bytes = disk_bytes(groups, " Read ", " rbytes=");
  counted.written_bytes = disk_bytes(groups, " Write ", " wbytes=");
  return counted;
}

std::uint64_t count_oom_kills(const Groups& groups) {
  if (const auto killed = first_keyed_number(groups, "memory.oom_control", "oom_kill")) return *killed;
  return first_keyed_number(groups, "memory.events", "oom_kill").value_or(0);
}

}  // namespace varve::launcher
