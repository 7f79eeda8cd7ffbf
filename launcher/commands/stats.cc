#include "launcher/commands/stats.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "imagetool/image/store/store.h"
#include "launcher/cgroup/container_cgroup.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr int kIntervalMs = 1000;
// Between the two readings that a share of time is made of when there is no earlier one.
constexpr int kFirstIntervalMs = 200;

std::uint64_t now_ns() {
  struct timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_ms(int time_ms) {
  const struct timespec time = {time_ms / 1000, (time_ms % 1000) * 1'000'000L};
  ::nanosleep(&time, nullptr);
}

// "12.3 MiB"; "-" for what is not counted.
std::string rounded(std::optional<std::uint64_t> bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (!bytes) return "-";
  double number = static_cast<double>(*bytes);
  std::size_t unit = 0;
  while (number >= 1024 && unit + 1 < kUnits.size()) {
    number /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", number, unit == 0 ? 0 : 1, kUnits.at(unit));
}

nlohmann::json or_null(std::optional<std::uint64_t> number) {
  return number ? nlohmann::json(*number) : nlohmann::json();
}

ResultOrFailure<bool> is_running(const image::ContainerStore& store, const image::ContainerState& state) {
  if (state.status != image::ContainerStatus::kRunning) return false;
  VARVE_ASSIGN(const std::optional<UniqueFd> lock, store.lock_stopped(state.name));
  return !lock.has_value();
}

// Takes readings and remembers the last ones.
class Reader {
 public:
  explicit Reader(const StatsOptions& options)
      : options_(options), store_(options.store.empty() ? image::default_store_path() : options.store) {}

  ResultOrFailure<std::vector<ContainerReading>> read();

 private:
  ResultOrFailure<std::vector<image::ContainerState>> running() const;
  double cpu_percent(const std::string& id, std::optional<std::uint64_t> cpu_ns);

  struct Before {
    std::uint64_t cpu_ns = 0;
    std::uint64_t at_ns = 0;
  };
  const StatsOptions& options_;
  image::ContainerStore store_;
  std::map<std::string, Before> before_;  // by id
};

ResultOrFailure<std::vector<image::ContainerState>> Reader::running() const {
  std::vector<image::ContainerState> found;
  if (options_.names.empty()) {
    VARVE_ASSIGN(std::vector<image::ContainerState> all, store_.list());
    for (image::ContainerState& state : all) {
      VARVE_ASSIGN(const bool runs, is_running(store_, state));
      if (runs) found.push_back(std::move(state));
    }
    return found;
  }
  for (const std::string& name : options_.names) {
    VARVE_ASSIGN(image::ContainerState state, store_.read(name));
    VARVE_ASSIGN(const bool runs, is_running(store_, state));
    // One that was there at the first reading has ended since.
    if (!runs && !before_.contains(state.id)) return refuse("reading statistics", name, "it does not run");
    if (!runs) continue;
    if (state.cgroups.empty()) {
      return refuse("reading statistics", name, "it has no control groups, which count",
                    "run it as root, or with a delegated group: systemd-run --user --scope -p Delegate=yes "
                    "varve run ...");
    }
    found.push_back(std::move(state));
  }
  return found;
}

double Reader::cpu_percent(const std::string& id, std::optional<std::uint64_t> cpu_ns) {
  const std::uint64_t at_ns = now_ns();
  const auto known = before_.find(id);
  double percent = 0;
  if (cpu_ns && known != before_.end() && *cpu_ns > known->second.cpu_ns && at_ns > known->second.at_ns) {
    percent = 100.0 * static_cast<double>(*cpu_ns - known->second.cpu_ns) /
              static_cast<double>(at_ns - known->second.at_ns);
  }
  before_[id] = {cpu_ns.value_or(0), at_ns};
  return percent;
}

ResultOrFailure<std::vector<ContainerReading>> Reader::read() {
  VARVE_ASSIGN(std::vector<image::ContainerState> states, running());
  std::vector<ContainerReading> readings;
  for (image::ContainerState& state : states) {
    VARVE_ASSIGN(const ContainerCgroup cgroup, ContainerCgroup::open(state.cgroups, state.id));
    ContainerReading reading = {.state = std::move(state), .counted = cgroup.statistics()};
    reading.cpu_percent = cpu_percent(reading.state.id, reading.counted.cpu_ns);
    readings.push_back(std::move(reading));
  }
  return readings;
}

StatusOrFailure print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return explain(Errno::last(), "printing statistics", "standard output");
}

}  // namespace

std::string statistics_table(const std::vector<ContainerReading>& readings) {
  constexpr const char* kLine = "{:<20} {:>7} {:>24} {:>11} {:>6} {:>24}\n";
  std::string text = fmt::format(kLine, "NAME", "CPU", "MEMORY / LIMIT", "PEAK", "PIDS", "READ / WRITTEN");
  for (const ContainerReading& reading : readings) {
    const GroupStatistics& counted = reading.counted;
    text += fmt::format(
        kLine, reading.state.name, counted.cpu_ns ? fmt::format("{:.1f} %", reading.cpu_percent) : "-",
        fmt::format("{} / {}", rounded(counted.memory_bytes), rounded(counted.memory_limit_bytes)),
        rounded(counted.memory_peak_bytes), counted.pids ? std::to_string(*counted.pids) : "-",
        fmt::format("{} / {}", rounded(counted.read_bytes), rounded(counted.written_bytes)));
  }
  return text;
}

std::string statistics_json(const std::vector<ContainerReading>& readings) {
  nlohmann::json objects = nlohmann::json::array();
  for (const ContainerReading& reading : readings) {
    const GroupStatistics& counted = reading.counted;
    objects.push_back({{"Name", reading.state.name},
                       {"Id", reading.state.id},
                       {"CpuPercent", reading.cpu_percent},
                       {"CpuNanoseconds", or_null(counted.cpu_ns)},
                       {"MemoryBytes", or_null(counted.memory_bytes)},
                       {"MemoryLimitBytes", or_null(counted.memory_limit_bytes)},
                       {"MemoryPeakBytes", or_null(counted.memory_peak_bytes)},
                       {"Pids", or_null(counted.pids)},
                       {"PidsLimit", or_null(counted.pids_limit)},
                       {"ReadBytes", or_null(counted.read_bytes)},
                       {"WrittenBytes", or_null(counted.written_bytes)}});
  }
  return objects.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

StatusOrFailure show_statistics(const StatsOptions& options) {
  const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  Reader reader(options);
  VARVE_ASSIGN(std::vector<ContainerReading> readings, reader.read());
  for (int interval_ms = kFirstIntervalMs;; interval_ms = kIntervalMs) {
    // A share of time needs two readings.
    sleep_ms(interval_ms);
    VARVE_ASSIGN(readings, reader.read());
    std::string text = options.json ? statistics_json(readings) : statistics_table(readings);
    // The terminal's upper left corner, and nothing below it.
    if (is_terminal && !options.once && !options.json) text.insert(0, "\x1b[H\x1b[J");
    VARVE_RETURN_IF_ERROR(print(text));
    if (options.once || (readings.empty() && !options.names.empty())) return {};
  }
}

}  // namespace varve::launcher
