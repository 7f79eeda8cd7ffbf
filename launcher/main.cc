// varve: runs commands in containers. Command line -> plan -> execute.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <variant>
#include <vector>

#include "fs/base/log.h"
#include "launcher/command_line.h"
#include "launcher/commands/exec.h"
#include "launcher/detach.h"
#include "launcher/execute.h"
#include "launcher/inside/process.h"
#include "launcher/plan.h"

namespace varve::launcher {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;

// Descriptors 0, 1 and 2 must be something, or what is opened first would pass for them.
bool open_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

int show(const std::string& text) {
  const bool good =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return good ? 0 : kFailed;
}

int show_or_fail(const ResultOrFailure<std::string>& text) {
  if (text.ok()) return show(*text);
  log_error("{}", text.error().message);
  return kFailed;
}

int run_container(const RunOptions& options, ArgumentArea area) {
  const ResultOrFailure<HostFacts> host = facts_of_this_host();
  if (!host.ok()) {
    log_error("{}", host.error().message);
    return kLauncherFailed;
  }
  const ResultOrFailure<Plan> plan = make_plan(options, *host);
  if (!plan.ok()) {
    log_error("{}", plan.error().message);
    return kLauncherFailed;
  }
  if (options.dry_run) return show(to_text(*plan));
  const std::string monitor_log =
      image::ContainerStore(plan->store_directory).directory_of(plan->name) + "/monitor.log";
  const Outcome outcome =
      plan->lifetime.detached
          ? go_on_detached(
                [&](const std::function<bool()>& on_started) { return execute(*plan, area, on_started); },
                {.name = plan->name, .log_path = monitor_log})
          : execute(*plan, area);
  if (!outcome.failure.message.empty()) log_error("{}", outcome.failure.message);
  if (plan->lifetime.detached && outcome.exit_status == 0) return show(plan->name + "\n");
  return outcome.exit_status;
}

int good_or_fail(const StatusOrFailure& status) {
  if (status.ok()) return 0;
  log_error("{}", status.error().message);
  return kFailed;
}

int exec(const ExecOptions& options, ArgumentArea area) {
  const Outcome outcome = exec_in_container(options, host_variable, area);
  if (!outcome.failure.message.empty()) log_error("{}", outcome.failure.message);
  return outcome.exit_status;
}

int dispatch(const CommandLine& line, ArgumentArea area) {
  if (const auto* run = std::get_if<RunOptions>(&line)) return run_container(*run, area);
  if (const auto* list = std::get_if<ListOptions>(&line)) return show_or_fail(list_containers(*list));
  if (const auto* inspect = std::get_if<InspectOptions>(&line)) {
    return show_or_fail(inspect_containers(inspect->store, inspect->names));
  }
  if (const auto* command = std::get_if<ExecOptions>(&line)) return exec(*command, area);
  if (const auto* logs = std::get_if<LogsOptions>(&line)) return good_or_fail(show_logs(*logs));
  if (const auto* stop = std::get_if<StopOptions>(&line)) return good_or_fail(stop_containers(*stop));
  if (const auto* kill = std::get_if<KillOptions>(&line)) return good_or_fail(kill_containers(*kill));
  if (const auto* pause = std::get_if<PauseOptions>(&line)) return good_or_fail(pause_containers(*pause));
  if (const auto* on = std::get_if<UnpauseOptions>(&line)) return good_or_fail(unpause_containers(*on));
  if (const auto* gone = std::get_if<RemoveOptions>(&line)) return good_or_fail(remove_containers(*gone));
  if (const auto* prune = std::get_if<PruneOptions>(&line))
    return show_or_fail(prune_containers(prune->store));
  if (const auto* stats = std::get_if<StatsOptions>(&line)) return good_or_fail(show_statistics(*stats));
  if (const auto* text = std::get_if<ShowText>(&line)) return show(text->text);
  log_error("{}", std::get<WrongUsage>(line).text);
  return kWrongUsage;
}

}  // namespace
}  // namespace varve::launcher

int main(int argc, char** argv) {
  using namespace varve::launcher;
  if (!open_standard_streams()) return kLauncherFailed;
  try {
    const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
    return dispatch(parse_command_line(arguments), ArgumentArea::of(argc, argv));
  } catch (const std::exception& error) {
    // bad_alloc, in the main: nothing of ours throws.
    std::fprintf(stderr, "varve: %s\n", error.what());
    return kLauncherFailed;
  }
}
