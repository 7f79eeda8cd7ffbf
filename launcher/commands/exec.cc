#include "launcher/commands/exec.h"

#include <utility>

#include "launcher/cgroup/container_cgroup.h"
#include "launcher/commands/running.h"
#include "launcher/detach.h"
#include "launcher/explain.h"
#include "launcher/inside/entry.h"
#include "launcher/kernel/process_identity.h"
#include "launcher/outside/joining.h"
#include "launcher/outside/process_record.h"
#include "launcher/outside/standard_streams.h"

namespace varve::launcher {
namespace {

constexpr const char* kDoing = "running a command in the container";

struct Target {
  std::string name;
  ArgumentArea area;
  NamespaceSet namespaces;
  UniqueFd process;  // pidfd of the command, whose namespaces are joined
  ContainerCgroup cgroup;
  ProcessRecord record;
};

ResultOrFailure<Target> find_target(const ExecOptions& options, const HostVariable& host) {
  const image::ContainerStore store = containers_of(options.store);
  VARVE_ASSIGN(const RunningContainer running, find_running(store, options.container, kDoing));
  Target target;
  target.name = running.state.name;
  VARVE_ASSIGN(target.namespaces, NamespaceSet::parse(running.state.namespaces));
  if (!target.namespaces.contains(Namespace::kMount)) {
    return refuse(kDoing, target.name,
                  "it shares the host's mounts, so there is no file system of its own to join",
                  "run it without --share mnt");
  }
  // The command and not the first process: that one does not let itself be looked into (inside/entry).
  Result<UniqueFd> command =
      open_identified({running.state.command_pid, running.state.command_started_ticks});
  if (!command.ok()) return explain(command.error(), kDoing, target.name, "its own command has ended");
  target.process = std::move(command).value();
  VARVE_ASSIGN(target.cgroup, ContainerCgroup::open(running.state.cgroups, running.state.id));
  VARVE_RETURN_IF_ERROR(target.cgroup.open_for_entry());
  VARVE_ASSIGN(const std::string process_text, store.process_of(target.name));
  VARVE_ASSIGN(target.record, parse_process_record(process_text, target.name));

  ProcessPlan& process = target.record.process;
  process.arguments = options.arguments;
  process.interactive = options.interactive;
  process.terminal = options.terminal;
  process.init = false;
  if (options.terminal) process.environment.set("TERM", host("TERM").value_or("xterm"));
  for (const std::string& file : options.environment_files) {
    VARVE_RETURN_IF_ERROR(process.environment.apply_file(file, host));
  }
  for (const std::string& entry : options.environment)
    VARVE_RETURN_IF_ERROR(process.environment.apply(entry, host));
  if (!options.user.empty()) process.user = options.user;
  if (!options.working_directory.empty()) process.working_directory = options.working_directory;
  if (process.working_directory.empty() || process.working_directory[0] != '/') {
    return refuse("choosing the working directory", process.working_directory, "it is not an absolute path");
  }
  return target;
}

ResultOrFailure<Outcome> run(const Target& target, const ExecOptions& options,
                             const std::function<bool()>& on_started) {
  Plan plan;
  plan.name = target.name;
  plan.process = target.record.process;
  VARVE_ASSIGN(StandardStreams streams, choose_streams(plan, nullptr));
  VARVE_ASSIGN(UniqueFd signals, catch_signals());
  Result<std::pair<ControlChannel, ControlChannel>> channel = ControlChannel::make_pair();
  if (!channel.ok()) return explain(channel.error(), "making a line to the container", "socketpair");
  ResultOrFailure<JoinedProcess> command =
      start_joined({.doing = kDoing,
                    .process_fd = target.process.get(),
                    .namespaces = target.namespaces,
                    .cgroup = target.cgroup,
                    .area = target.area},
                   *channel, [&](ControlChannel own_end, UniqueFd) {
                     streams.take();
                     run_joined(target.record.process,
                                {.own_user_namespace = target.namespaces.contains(Namespace::kUser),
                                 .setgroups_denied = target.record.setgroups_denied},
                                std::move(own_end));
                   });
  streams.input.reset();
  if (!command.ok()) return std::move(command).error();
  if (!plan.process.terminal && !options.detached) let_go_of_input_and_output();
  Supervisor supervisor(plan, std::move(command->process), std::move(channel->first), std::move(signals),
                        {.on_started = on_started});
  return supervisor.serve();
}

Outcome run_to_end(const Target& target, const ExecOptions& options,
                   const std::function<bool()>& on_started) {
  ResultOrFailure<Outcome> outcome = run(target, options, on_started);
  if (outcome.ok()) return std::move(*outcome);
  return Outcome{kLauncherFailed, outcome.error()};
}

}  // namespace

Outcome exec_in_container(const ExecOptions& options, const HostVariable& host, ArgumentArea area) {
  ResultOrFailure<Target> target = find_target(options, host);
  if (!target.ok()) return Outcome{kLauncherFailed, target.error()};
  target->area = area;
  if (!options.detached) return run_to_end(*target, options, {});
  return go_on_detached(
      [&](const std::function<bool()>& on_started) { return run_to_end(*target, options, on_started); },
      {.name = target->name, .log_path = {}});
}

}  // namespace varve::launcher
