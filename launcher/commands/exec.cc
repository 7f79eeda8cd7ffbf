#include "launcher/commands/exec.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "launcher/cgroup/container_cgroup.h"
#include "launcher/commands/running.h"
#include "launcher/detach.h"
#include "launcher/explain.h"
#include "launcher/inside/entry.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/kernel/process_identity.h"
#include "launcher/outside/process_record.h"
#include "launcher/outside/standard_streams.h"

namespace varve::launcher {
namespace {

constexpr const char* kDoing = "running a command in the container";

struct Target {
  std::string name;
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

// In a process of its own, because joining cannot be undone. Its child, the command, is made a child of the launcher, in the pid
// namespace that was joined (CLONE_PARENT, clone(2)).
[[noreturn]] void join_and_start(const Target& target, const StandardStreams& streams,
                                 ControlChannel channel) {
  // The launcher's memory and binary are not for the container; see inside/entry.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (const StatusOrFailure entered = target.cgroup.enter(); !entered.ok())
    report_and_exit(channel, {entered.error()});
  const auto flags = static_cast<int>(target.namespaces.clone_flags());
  if (flags != 0 && ::setns(target.process.get(), flags) != 0) {
    report_and_exit(channel, {explain(Errno::last(), "joining the container's namespaces",
                                      target.namespaces.text(), "only who started it and root may")});
  }
  struct clone_args arguments = {};
  arguments.flags = CLONE_PARENT;
  const long command = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (command < 0) report_and_exit(channel, {explain(Errno::last(), kDoing, "clone3")});
  if (command > 0) ::_exit(0);
  streams.take();
  run_joined(target.record.process,
             {.own_user_namespace = target.namespaces.contains(Namespace::kUser),
              .setgroups_denied = target.record.setgroups_denied},
             std::move(channel));
}

// The command as it is known outside. The first message that comes is its own, or says why there is none.
ResultOrFailure<SupervisedProcess> hear_of_command(const ControlChannel& channel) {
  const Result<ControlMessage> heard = channel.receive();
  if (!heard.ok() || heard->kind == ControlMessage::Kind::kEnd)
    return refuse(kDoing, "", "the joining process was killed");
  if (heard->kind == ControlMessage::Kind::kFailed) return Failure{EIO, heard->text};
  SupervisedProcess command;
  command.pid = heard->sender;
  Result<UniqueFd> process = open_process(command.pid);
  if (!process.ok()) return explain(process.error(), kDoing, "pidfd_open");
  command.process = std::move(process).value();
  return command;
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
  struct clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  target.cgroup.apply_to(arguments);
  const auto joiner = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (joiner < 0) return explain(Errno::last(), kDoing, "clone3");
  if (joiner == 0) {
    channel->first.close();
    join_and_start(target, streams, std::move(channel->second));
  }
  channel->second.close();
  streams.input.reset();
  ResultOrFailure<SupervisedProcess> command = hear_of_command(channel->first);
  ::waitpid(joiner, nullptr, 0);
  if (!command.ok()) return std::move(command).error();
  if (!plan.process.terminal && !options.detached) let_go_of_input_and_output();
  Supervisor supervisor(plan, std::move(*command), std::move(channel->first), std::move(signals),
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

Outcome exec_in_container(const ExecOptions& options, const HostVariable& host) {
  ResultOrFailure<Target> target = find_target(options, host);
  if (!target.ok()) return Outcome{kLauncherFailed, target.error()};
  if (!options.detached) return run_to_end(*target, options, {});
  return go_on_detached(
      [&](const std::function<bool()>& on_started) { return run_to_end(*target, options, on_started); },
      {.name = target->name, .log_path = {}});
}

}  // namespace varve::launcher
