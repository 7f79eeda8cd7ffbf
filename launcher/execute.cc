#include "launcher/execute.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "launcher/cgroup/container_cgroup.h"
#include "launcher/explain.h"
#include "launcher/inside/entry.h"
#include "launcher/inside/pid_init.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/kernel/process_identity.h"
#include "launcher/network/container_network.h"
#include "launcher/outside/container_record.h"
#include "launcher/outside/daemon.h"
#include "launcher/outside/joining.h"
#include "launcher/outside/standard_streams.h"
#include "launcher/outside/supervisor.h"

namespace varve::launcher {
namespace {

// One fork: clone3(2) makes the namespaces and the process in them at once. The child runs on a copy of this memory.
ResultOrFailure<SupervisedProcess> clone_container(const Plan& plan, const StandardStreams& streams,
                                                   std::pair<ControlChannel, ControlChannel>& channel,
                                                   const ContainerCgroup& cgroup, ArgumentArea area) {
  int process_fd = -1;
  struct clone_args arguments = {};
  // The cgroup namespace comes later: its root is the group in which a process makes it.
  arguments.flags = (plan.own_namespaces.clone_flags() & ~std::uint64_t{CLONE_NEWCGROUP}) | CLONE_PIDFD;
  cgroup.apply_to(arguments);
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&process_fd);
  arguments.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    channel.first.close();
    streams.take();
    run_inside(plan, std::move(channel.second), area);
  }
  if (pid < 0) {
    return explain(Errno::last(), "making the container's namespaces", plan.own_namespaces.text(),
                   "is the number of namespaces limited? see /proc/sys/user; --share keeps some in common "
                   "with the host");
  }
  channel.second.close();
  return SupervisedProcess{static_cast<pid_t>(pid), UniqueFd(process_fd)};
}

struct FirstProcess {
  SupervisedProcess process;
  UniqueFd network_namespace;  // where it is to be connected
};

// The same in namespaces of another container.
ResultOrFailure<FirstProcess> join_container(const Plan& plan, const StandardStreams& streams,
                                             std::pair<ControlChannel, ControlChannel>& channel,
                                             const ContainerCgroup& cgroup, ArgumentArea area) {
  constexpr const char* kDoing = "joining the namespaces of a container";
  const Result<UniqueFd> owner = open_identified(plan.joined.process);
  if (!owner.ok()) return explain(owner.error(), kDoing, plan.joined.container, "it has ended");
  VARVE_ASSIGN(JoinedProcess joined,
               start_joined({.doing = kDoing,
                             .process_fd = owner->get(),
                             .namespaces = plan.joined.namespaces,
                             .own = plan.own_namespaces,
                             .cgroup = cgroup,
                             .area = area,
                             .shared_memory = plan.joined.shared_memory},
                            channel, [&](ControlChannel own_end, UniqueFd shared_memory) {
                              streams.take();
                              run_inside(plan, std::move(own_end), area, std::move(shared_memory));
                            }));
  return FirstProcess{std::move(joined.process), std::move(joined.network_namespace)};
}

ResultOrFailure<FirstProcess> start_first_process(const Plan& plan, const StandardStreams& streams,
                                                  std::pair<ControlChannel, ControlChannel>& channel,
                                                  ContainerCgroup& cgroup, ArgumentArea area) {
  if (!plan.joined.namespaces.empty()) {
    // It enters its groups before it joins anything.
    VARVE_RETURN_IF_ERROR(cgroup.complete(plan.limits));
    return join_container(plan, streams, channel, cgroup, area);
  }
  FirstProcess first;
  VARVE_ASSIGN(first.process, clone_container(plan, streams, channel, cgroup, area));
  return first;
}

// What must be done to a container that waits for its go. Returns: a Failure; the container waits still.
StatusOrFailure prepare_container(const Plan& plan, const SupervisedProcess& container) {
  if (!plan.own_namespaces.contains(Namespace::kUser)) return {};
  return write_id_map(container.pid, plan.id_map);
}

// Makes the network of a container that waits for its go, where it needs one.
ResultOrFailure<std::optional<ContainerNetwork>> connect_network(const Plan& plan, FirstProcess& first) {
  if (!plan.network.is_connected()) return std::optional<ContainerNetwork>();
  if (!first.network_namespace.valid()) {
    VARVE_ASSIGN(first.network_namespace, open_network_namespace(first.process.pid));
  }
  VARVE_ASSIGN(ContainerNetwork network,
               ContainerNetwork::connect(plan.network,
                                         {.network_namespace = std::move(first.network_namespace),
                                          .process_fd = first.process.process.get(),
                                          .own_user_namespace = plan.namespaces().contains(Namespace::kUser),
                                          .container_id = plan.id}));
  return std::optional<ContainerNetwork>(std::move(network));
}

// What the first process is told of the network.
NetworkConnection connection_of(const Plan& plan, const std::optional<ContainerNetwork>& network) {
  if (network) return network->connection();
  if (!plan.network.joined) return {};
  return {plan.network.joined->state.address, plan.network.joined->state.gateway};
}

// What begins while the container makes its mounts. What it is told it may not hear: it has failed then, and the supervisor
// learns why.
StatusOrFailure prepare_groups(const Plan& plan, ContainerCgroup& cgroup, const ControlChannel& channel,
                               const NetworkConnection& connection) {
  if (plan.joined.namespaces.empty()) {  // else it has entered them
    VARVE_RETURN_IF_ERROR(cgroup.complete(plan.limits));
    for (ContainerCgroup::TaskList& one : cgroup.take_task_lists()) {
      ControlMessage message;
      message.kind = ControlMessage::Kind::kGroup;
      message.text = std::move(one.group);
      message.fd = std::move(one.file);
      [[maybe_unused]] const Status told = channel.send(message);
    }
  }
  ControlMessage prepared;
  prepared.kind = ControlMessage::Kind::kPrepared;
  prepared.text = connection.text();
  [[maybe_unused]] const Status told = channel.send(prepared);
  return {};
}

StatusOrFailure begin(const Plan& plan, FirstProcess& first, std::optional<ContainerRecord>& record,
                      ContainerCgroup& cgroup, const ControlChannel& channel,
                      std::optional<ContainerNetwork>& network) {
  if (plan.waits_for_go()) {
    VARVE_RETURN_IF_ERROR(prepare_container(plan, first.process));
    VARVE_ASSIGN(network, connect_network(plan, first));
    if (record && network) record->note_network(network->state());
    ControlMessage go;
    go.kind = ControlMessage::Kind::kGo;
    if (!channel.send(go).ok()) return refuse("starting the container", plan.name, "it died at once");
  }
  return prepare_groups(plan, cgroup, channel, connection_of(plan, network));
}

// Early: it opens layers and upper while the namespaces are made.
ResultOrFailure<std::optional<Daemon>> start_daemon(const Plan& plan,
                                                    const std::optional<ContainerRecord>& record) {
  if (plan.root.kind != RootPlan::Kind::kStack) return std::optional<Daemon>();
  VARVE_ASSIGN(Daemon daemon, Daemon::start(plan.daemon_path, plan.root,
                                            {.lock_fd = record ? record->lock_fd() : -1,
                                             .own_user_namespace = plan.daemon_in_user_namespace}));
  return std::optional<Daemon>(std::move(daemon));
}

void end_groups(const Plan& plan, std::optional<ContainerRecord>& record, const ContainerCgroup& cgroup) {
  const bool is_oom_killed = end_cgroup(cgroup, plan.limits);
  if (record) record->note_oom_kill(is_oom_killed);
}

// Takes `daemon` once a container is there for it.
ResultOrFailure<Outcome> run(const Plan& plan, std::optional<ContainerRecord>& record,
                             std::optional<Daemon>& daemon, ContainerCgroup& cgroup, ArgumentArea area,
                             const std::function<bool()>& on_started) {
  VARVE_ASSIGN(const std::unique_ptr<KeptOutput> kept, keep_output(plan));
  VARVE_ASSIGN(StandardStreams streams, choose_streams(plan, kept.get()));
  VARVE_ASSIGN(UniqueFd signals, catch_signals());
  Result<std::pair<ControlChannel, ControlChannel>> channel = ControlChannel::make_pair();
  if (!channel.ok()) return explain(channel.error(), "making a line to the container", "socketpair");
  VARVE_ASSIGN(FirstProcess first, start_first_process(plan, streams, *channel, cgroup, area));

  streams.input.reset();
  if (kept && kept->relay) kept->relay->release_container_ends();
  if (!plan.process.terminal && !plan.lifetime.detached) let_go_of_input_and_output();
  std::optional<ContainerNetwork> network;
  const StatusOrFailure begun = begin(plan, first, record, cgroup, channel->first, network);
  if (!begun.ok()) {
    [[maybe_unused]] const Status ignored = send_signal(first.process.process.get(), SIGKILL);
    ::waitpid(first.process.pid, nullptr, 0);
    return begun.error();
  }
  Supervisor supervisor(plan, std::move(first.process), std::move(channel->first), std::move(signals),
                        {.record = record ? &*record : nullptr,
                         .output = kept && kept->relay ? &*kept->relay : nullptr,
                         .log = kept ? &kept->log : nullptr,
                         .on_started = on_started,
                         .on_ended = [&] { end_groups(plan, record, cgroup); }});
  if (network) supervisor.hold_network(std::move(*network));
  if (daemon) supervisor.hold_daemon(std::move(*std::exchange(daemon, std::nullopt)));
  Outcome outcome = supervisor.serve();
  if (kept) kept->log.finish();
  return outcome;
}

ResultOrFailure<Outcome> run_in_cgroup(const Plan& plan, std::optional<ContainerRecord>& record,
                                       ArgumentArea area, const std::function<bool()>& on_started) {
  VARVE_ASSIGN(std::optional<Daemon> daemon, start_daemon(plan, record));
  ResultOrFailure<ContainerCgroup> cgroup = ContainerCgroup::begin(plan.limits);
  ResultOrFailure<Outcome> ran =
      cgroup.ok() ? run(plan, record, daemon, *cgroup, area, on_started) : cgroup.error();
  if (daemon) daemon->call_off();
  if (cgroup.ok() && !ran.ok()) end_groups(plan, record, *cgroup);
  return ran;
}

}  // namespace

Outcome execute(const Plan& plan, ArgumentArea area, const std::function<bool()>& on_started) {
  std::optional<ContainerRecord> record;
  if (plan.recorded) {
    ResultOrFailure<ContainerRecord> created = ContainerRecord::create(plan);
    if (!created.ok()) return Outcome{kLauncherFailed, created.error()};
    record.emplace(std::move(created).value());
  }
  const ResultOrFailure<Outcome> ran = run_in_cgroup(plan, record, area, on_started);
  Outcome outcome = ran.ok() ? *ran : Outcome{kLauncherFailed, ran.error()};
  if (record) {
    // A container that never began is not worth keeping.
    const bool is_removed = plan.remove_afterwards || !ran.ok();
    const StatusOrFailure done = is_removed ? record->remove() : record->set_exited(outcome.exit_status);
    if (!done.ok()) log_error("{}", done.error().message);
  }
  return outcome;
}

}  // namespace varve::launcher
