#include "launcher/cgroup/limit_settings.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <charconv>
#include <limits>
#include <optional>

#include "launcher/cgroup/limit_values.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::int64_t kDefaultPids = 2048;  // podman's (containers.conf, pids_limit)
constexpr std::int64_t kMostNumber = std::numeric_limits<std::int64_t>::max();

LimitSetting setting(const char* option, const char* file, std::string value) {
  return {.option = option, .files = {{file, std::move(value)}}};
}

void add(WantedLimits& to, const char* controller, LimitSetting v1, LimitSetting v2) {
  to.settings.push_back({controller, std::move(v1), std::move(v2)});
}

// Memory and swap together, as --memory-swap counts. Empty: swap is not limited.
ResultOrFailure<std::optional<std::uint64_t>> total_memory(const LimitOptions& options,
                                                           std::uint64_t memory) {
  constexpr std::uint64_t kMost = static_cast<std::uint64_t>(kMostNumber);
  if (options.memory_swap == "-1") return std::optional<std::uint64_t>();
  std::uint64_t total = memory > kMost / 2 ? kMost : 2 * memory;
  if (!options.memory_swap.empty()) {
    VARVE_ASSIGN(const std::uint64_t typed, parse_size("--memory-swap", options.memory_swap));
    if (typed != 0) total = typed;
  }
  if (total < memory) {
    return refuse("limiting swap", options.memory_swap, "--memory-swap is less than --memory",
                  "it counts memory and swap together");
  }
  return std::optional<std::uint64_t>(total);
}

StatusOrFailure read_memory(const LimitOptions& options, WantedLimits& to) {
  if (!options.memory_swap.empty() && options.memory.empty()) {
    return refuse("limiting swap", options.memory_swap, "--memory-swap needs --memory beside it");
  }
  std::uint64_t memory = 0;
  if (!options.memory.empty()) {
    VARVE_ASSIGN(memory, parse_size("--memory", options.memory));
  }
  if (memory > 0) {
    VARVE_ASSIGN(const std::optional<std::uint64_t> total, total_memory(options, memory));
    const std::string bytes = std::to_string(memory);
    add(to, "memory", setting("--memory", "memory.limit_in_bytes", bytes),
        setting("--memory", "memory.max", bytes));
    LimitSetting swap_v1 =
        setting("--memory-swap", "memory.memsw.limit_in_bytes", total ? std::to_string(*total) : "-1");
    LimitSetting swap_v2 =
        setting("--memory-swap", "memory.swap.max", total ? std::to_string(*total - memory) : "max");
    // A kernel that does not account for swap has no such file. Nobody has asked for the default.
    swap_v1.may_be_absent = swap_v2.may_be_absent = options.memory_swap.empty();
    add(to, "memory", std::move(swap_v1), std::move(swap_v2));
    to.limits["memory"] = bytes;
    to.limits["memory-swap"] = total ? std::to_string(*total) : "unlimited";
  }
  if (options.memory_reservation.empty()) return {};
  VARVE_ASSIGN(const std::uint64_t reserved, parse_size("--memory-reservation", options.memory_reservation));
  if (memory > 0 && reserved > memory) {
    return refuse("reserving memory", options.memory_reservation,
                  "--memory-reservation is more than --memory");
  }
  if (reserved == 0) return {};
  const std::string bytes = std::to_string(reserved);
  add(to, "memory", setting("--memory-reservation", "memory.soft_limit_in_bytes", bytes),
      setting("--memory-reservation", "memory.low", bytes));
  to.limits["memory-reservation"] = bytes;
  return {};
}

StatusOrFailure read_cpu(const LimitOptions& options, WantedLimits& to) {
  if (!options.cpus.empty()) {
    VARVE_ASSIGN(const std::uint64_t quota_us, parse_cpus("--cpus", options.cpus));
    if (quota_us > 0) {
      add(to, "cpu", setting("--cpus", "cpu.cfs_period_us", std::to_string(kCpuPeriodUs)), {});
      add(to, "cpu", setting("--cpus", "cpu.cfs_quota_us", std::to_string(quota_us)),
          setting("--cpus", "cpu.max", fmt::format("{} {}", quota_us, kCpuPeriodUs)));
      to.limits["cpus"] = options.cpus;
    }
  }
  if (options.cpu_shares.empty()) return {};
  VARVE_ASSIGN(const std::int64_t shares, parse_number("--cpu-shares", options.cpu_shares, {0, 262144}));
  if (shares == 0) return {};
  if (shares < 2) return refuse("reading --cpu-shares", options.cpu_shares, "the least is 2");
  // 2..262144 onto 1..10000, the range of cpu.weight, as OCI runtimes do (Kubernetes KEP 2254).
  const std::int64_t weight = 1 + (shares - 2) * 9999 / 262142;
  add(to, "cpu", setting("--cpu-shares", "cpu.shares", std::to_string(shares)),
      setting("--cpu-shares", "cpu.weight", std::to_string(weight)));
  to.limits["cpu-shares"] = std::to_string(shares);
  return {};
}

StatusOrFailure read_cpuset(const LimitOptions& options, WantedLimits& to) {
  if (!options.cpuset_cpus.empty()) {
    VARVE_ASSIGN(const std::string list, parse_cpu_list("--cpuset-cpus", options.cpuset_cpus));
    add(to, "cpuset", setting("--cpuset-cpus", "cpuset.cpus", list),
        setting("--cpuset-cpus", "cpuset.cpus", list));
    to.limits["cpuset-cpus"] = list;
  }
  if (!options.cpuset_mems.empty()) {
    VARVE_ASSIGN(const std::string list, parse_cpu_list("--cpuset-mems", options.cpuset_mems));
    add(to, "cpuset", setting("--cpuset-mems", "cpuset.mems", list),
        setting("--cpuset-mems", "cpuset.mems", list));
    to.limits["cpuset-mems"] = list;
  }
  return {};
}

StatusOrFailure read_pids(const LimitOptions& options, WantedLimits& to) {
  std::int64_t most = kDefaultPids;
  to.default_pids = options.pids.empty();
  if (!to.default_pids) {
    VARVE_ASSIGN(most, parse_number("--pids-limit", options.pids, {-1, 1 << 22}));
  }
  if (most <= 0) return {};  // unlimited is what a new group is
  add(to, "pids", setting("--pids-limit", "pids.max", std::to_string(most)),
      setting("--pids-limit", "pids.max", std::to_string(most)));
  to.limits["pids-limit"] = std::to_string(most);
  return {};
}

StatusOrFailure read_blkio_weight(const LimitOptions& options, WantedLimits& to) {
  if (options.blkio_weight.empty()) return {};
  VARVE_ASSIGN(const std::int64_t weight, parse_number("--blkio-weight", options.blkio_weight, {0, 1000}));
  if (weight == 0) return {};
  if (weight < 10) return refuse("reading --blkio-weight", options.blkio_weight, "the least is 10");
  const std::string number = std::to_string(weight);
  // io.weight runs from 1 to 10000 where the others run from 10 to 1000.
  const std::string wide = std::to_string(1 + (weight - 10) * 9999 / 990);
  LimitSetting v1 = {.option = "--blkio-weight",
                     .files = {{"blkio.bfq.weight", number}, {"blkio.weight", number}}};
  LimitSetting v2 = {.option = "--blkio-weight", .files = {{"io.bfq.weight", number}, {"io.weight", wide}}};
  add(to, "io", std::move(v1), std::move(v2));
  to.limits["blkio-weight"] = number;
  return {};
}

// "10:1", hexadecimal, as tc(8) writes the handle of a class. Returns: 0x100001.
ResultOrFailure<std::uint32_t> parse_net_class(const std::string& text) {
  constexpr std::uint32_t kMost = 0xFFFF;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  const char* const end = text.data() + text.size();
  const auto [colon, no_major] = std::from_chars(text.data(), end, major, 16);
  const bool has_minor = no_major == std::errc() && colon != end && *colon == ':';
  const auto [rest, no_minor] = std::from_chars(has_minor ? colon + 1 : end, end, minor, 16);
  if (!has_minor || no_minor != std::errc() || rest != end || major > kMost || minor > kMost || major == 0) {
    return refuse("reading --net-classid", text, "it is no class of traffic",
                  "write MAJOR:MINOR in hexadecimal, as 10:1");
  }
  return major << 16 | minor;
}

// Documentation/admin-guide/cgroup-v1/net_cls.rst. Version 2 has no such controller: there packets are told by their cgroup.
StatusOrFailure read_net_class(const LimitOptions& options, WantedLimits& to) {
  if (options.net_class.empty()) return {};
  VARVE_ASSIGN(const std::uint32_t net_class, parse_net_class(options.net_class));
  add(to, "net_cls", setting("--net-classid", "net_cls.classid", std::to_string(net_class)), {});
  to.limits["net-classid"] = options.net_class;
  return {};
}

// "8:0"
ResultOrFailure<std::string> disk_numbers(const char* option, const std::string& path) {
  struct stat about = {};
  const std::string doing = fmt::format("looking up the disk of {}", option);
  if (::stat(path.c_str(), &about) != 0) return explain(Errno::last(), doing, path);
  if (!S_ISBLK(about.st_mode)) return refuse(doing, path, "it is no block device");
  return fmt::format("{}:{}", major(about.st_rdev), minor(about.st_rdev));
}

struct RateKind {
  const char* option;
  const char* v1_file;
  const char* v2_key;
  bool in_bytes;
};

StatusOrFailure read_rates(const RateKind& kind, const std::vector<std::string>& words, WantedLimits& to) {
  const std::string limit = std::string(kind.option).substr(2);
  for (const std::string& word : words) {
    VARVE_ASSIGN(const DeviceRate rate, split_device_rate(kind.option, word));
    std::uint64_t number = 0;
    if (kind.in_bytes) {
      VARVE_ASSIGN(number, parse_size(kind.option, rate.rate));
    } else {
      VARVE_ASSIGN(const std::int64_t count, parse_number(kind.option, rate.rate, {0, kMostNumber}));
      number = static_cast<std::uint64_t>(count);
    }
    if (number == 0)
      return refuse(fmt::format("reading {}", kind.option), word, "a rate of 0 would stop the disk");
    VARVE_ASSIGN(const std::string numbers, disk_numbers(kind.option, rate.path));
    add(to, "io", setting(kind.option, kind.v1_file, fmt::format("{} {}", numbers, number)),
        setting(kind.option, "io.max", fmt::format("{} {}={}", numbers, kind.v2_key, number)));
    std::string& text = to.limits[limit];
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", rate.path, number);
  }
  return {};
}

}  // namespace

const char* version_1_name(std::string_view controller) {
  if (controller == "io") return "blkio";
  if (controller == "cpu") return "cpu";
  if (controller == "cpuset") return "cpuset";
  if (controller == "net_cls") return "net_cls";
  return controller == "memory" ? "memory" : "pids";
}

ResultOrFailure<WantedLimits> read_limits(const LimitOptions& options) {
  WantedLimits wanted;
  VARVE_RETURN_IF_ERROR(read_memory(options, wanted));
  VARVE_RETURN_IF_ERROR(read_cpu(options, wanted));
  VARVE_RETURN_IF_ERROR(read_cpuset(options, wanted));
  VARVE_RETURN_IF_ERROR(read_pids(options, wanted));
  VARVE_RETURN_IF_ERROR(read_blkio_weight(options, wanted));
  VARVE_RETURN_IF_ERROR(read_net_class(options, wanted));
  VARVE_RETURN_IF_ERROR(read_rates({"--device-read-bps", "blkio.throttle.read_bps_device", "rbps", true},
                                   options.device_read_bps, wanted));
  VARVE_RETURN_IF_ERROR(read_rates({"--device-write-bps", "blkio.throttle.write_bps_device", "wbps", true},
                                   options.device_write_bps, wanted));
  VARVE_RETURN_IF_ERROR(read_rates({"--device-read-iops", "blkio.throttle.read_iops_device", "riops", false},
                                   options.device_read_iops, wanted));
  VARVE_RETURN_IF_ERROR(
      read_rates({"--device-write-iops", "blkio.throttle.write_iops_device", "wiops", false},
                 options.device_write_iops, wanted));
  return wanted;
}

}  // namespace varve::launcher
