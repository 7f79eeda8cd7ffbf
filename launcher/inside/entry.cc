#include "launcher/inside/entry.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <utility>
#include <vector>

#include "launcher/cgroup/container_cgroup.h"
#include "launcher/explain.h"
#include "launcher/inside/cgroup_mounts.h"
#include "launcher/inside/dev_nodes.h"
#include "launcher/inside/etc_files.h"
#include "launcher/inside/hostname.h"
#include "launcher/inside/kernel_filesystems.h"
#include "launcher/inside/loopback.h"
#include "launcher/inside/pid_init.h"
#include "launcher/inside/process.h"
#include "launcher/inside/program_read_ahead.h"
#include "launcher/inside/pseudo_terminal.h"
#include "launcher/inside/root_filesystem.h"
#include "launcher/inside/user_lookup.h"
#include "launcher/inside/volumes.h"
#include "launcher/kernel/mount_calls.h"
#include "launcher/kernel/quick_fork.h"

namespace varve::launcher {
namespace {

constexpr gid_t kTtyGroup = 5;

// Descriptors of the launcher end here; 0, 1 and 2 stay, the channel moves to 3, `kept` to 4 when there is one.
ControlChannel close_all_but(ControlChannel channel, UniqueFd& kept) {
  constexpr int kChannelFd = 3;
  constexpr int kKeptFd = 4;
  // Out of the way first; its old number may become the channel's.
  const int lifted = kept.valid() ? ::fcntl(kept.release(), F_DUPFD_CLOEXEC, kKeptFd + 1) : -1;
  if (channel.fd() != kChannelFd) {
    ::dup3(channel.fd(), kChannelFd, O_CLOEXEC);
    channel = ControlChannel(UniqueFd(kChannelFd));
  }
  if (lifted >= 0) kept.reset(::dup3(lifted, kKeptFd, O_CLOEXEC));
  ::close_range(kept.valid() ? kKeptFd + 1 : kChannelFd + 1, ~0U, 0);
  return channel;
}

StatusOrFailure wait_for_go(const Plan& plan, const ControlChannel& channel) {
  // The container must not outlive the launcher, whatever kills it. Between clone and here it may have died already; then
  // the channel has ended, and the next who listens says so.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (!plan.waits_for_go()) return {};
  const Result<ControlMessage> message = channel.receive();
  if (message.ok() && message->kind == ControlMessage::Kind::kGo) return {};
  return refuse("starting in the container", "", "the launcher is gone");
}

// The launcher makes the groups of version 1 while we make mounts. A cgroup namespace has its root where its maker is.
ResultOrFailure<NetworkConnection> enter_groups(const Plan& plan, const ControlChannel& channel) {
  for (;;) {
    const Result<ControlMessage> message = channel.receive();
    if (message.ok() && message->kind == ControlMessage::Kind::kGroup) {
      const Status entered = ContainerCgroup::enter_by(message->fd.get());
      if (!entered.ok()) return explain(entered.error(), "entering a control group", message->text);
      continue;
    }
    if (!message.ok() || message->kind != ControlMessage::Kind::kPrepared) {
      return refuse("entering the control groups", "", "the launcher is gone");
    }
    if (plan.own_namespaces.contains(Namespace::kCgroup)) VARVE_RETURN_IF_ERROR(make_cgroup_namespace());
    return NetworkConnection::parse(message->text);
  }
}

// What connects the container may still be at work when all else is set up.
StatusOrFailure wait_for_network(const Plan& plan, const ControlChannel& channel) {
  if (!plan.network.is_connected()) return {};
  const Result<ControlMessage> message = channel.receive();
  if (!message.ok() || message->kind != ControlMessage::Kind::kNetworkUp) {
    return refuse("waiting for the network", "", "the launcher is gone");
  }
  return {};
}

// The root, not yet attached. For a stack the daemon is started by the launcher while we go on; whoever touches the mount
// before the daemon answers just waits.
ResultOrFailure<UniqueFd> make_root(const RootPlan& root, const ControlChannel& channel) {
  if (root.kind == RootPlan::Kind::kDirectory) return directory_as_root(root.directory);
  VARVE_ASSIGN(FuseRoot fuse, fuse_as_root(root.read_only && root.upper.empty()));
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFuseDevice;
  message.fd = std::move(fuse.device);
  const Status sent = channel.send(message);
  if (!sent.ok()) return explain(sent.error(), "handing the FUSE device to the launcher", "");
  // Closed here with `message`: the daemon's must be the only one, or its death would not end the mount.
  return std::move(fuse.mount);
}

StatusOrFailure hold_root_read_only(int root_fd, const MountPlan& mounts,
                                    const std::vector<OpenSource>& sources) {
  // Mount points that are missing can be made only now; where that fails, mounting there says so.
  for (const char* path : {"/proc", "/sys", "/dev"}) {
    [[maybe_unused]] const Result<UniqueFd> made = make_directory_beneath(root_fd, path);
  }
  make_mount_points(root_fd, mounts, sources);
  const Status status = add_mount_attributes(root_fd, MOUNT_ATTR_RDONLY, true);
  if (!status.ok()) return explain(status.error(), "making the container's root read-only", "/");
  return {};
}

StatusOrFailure hand_over_terminal(ResultOrFailure<PseudoTerminal> made, const ControlChannel& channel,
                                   UniqueFd& slave) {
  VARVE_ASSIGN(PseudoTerminal terminal, std::move(made));
  ControlMessage message;
  message.kind = ControlMessage::Kind::kTerminal;
  message.fd = std::move(terminal.master);
  const Status sent = channel.send(message);
  if (!sent.ok()) return explain(sent.error(), "handing the terminal to the launcher", "");
  slave = std::move(terminal.slave);
  return {};
}

// What the set-up leaves for the start of the command.
struct Surroundings {
  UniqueFd terminal;  // when the plan has one
  std::optional<UserFiles> user_files;
  UniqueFd spent_mount;  // see bind_etc_files()
};

// Builds the tree the container sees and enters it. `shared_memory` may be invalid.
StatusOrFailure set_up_mounts(const Plan& plan, const UniqueFd& shared_memory, const ControlChannel& channel,
                              Surroundings& made) {
  VARVE_RETURN_IF_ERROR(make_propagation_private());
  VARVE_ASSIGN(std::vector<HostNode> nodes, copy_host_nodes());
  VARVE_ASSIGN(const std::vector<OpenSource> sources, open_mount_sources(plan.mounts));
  VARVE_ASSIGN(const UniqueFd root, make_root(plan.root, channel));
  VARVE_RETURN_IF_ERROR(attach_root(root));
  const NamespaceSet apart = plan.namespaces();
  if (apart.contains(Namespace::kUser)) VARVE_RETURN_IF_ERROR(become_root_inside());
  if (plan.root.read_only) VARVE_RETURN_IF_ERROR(hold_root_read_only(root.get(), plan.mounts, sources));

  if (plan.root.kind == RootPlan::Kind::kStack) {
    // Before the program, or they wait behind it; what is mounted later may give others.
    if (plan.mounts.mounts.empty()) made.user_files = read_user_files(root.get());
    [[maybe_unused]] const off_t asked_for = begin_reading_program(root.get(), plan.process);
  }

  VARVE_ASSIGN(const DevDirectory dev, make_dev(root.get(), std::move(nodes),
                                                {.own_ipc = apart.contains(Namespace::kIpc),
                                                 .map_tty_group = !apart.contains(Namespace::kUser) ||
                                                                  plan.id_map.maps_gid(kTtyGroup),
                                                 .shm_bytes = plan.mounts.shm_bytes,
                                                 .joined_shm_fd = shared_memory.get()}));
  VARVE_ASSIGN(const NetworkConnection connection, enter_groups(plan, channel));
  // Who has CAP_SYS_ADMIN mounts the hierarchies as it is; for nested containers it is wanted, then. What is joined is not ours
  // to change: there it is as the other container has it.
  const bool forbids_cgroup_namespaces =
      plan.own_namespaces.contains(Namespace::kUser) &&
      !plan.process.capabilities.contains(CapabilitySet(std::uint64_t{1} << CAP_SYS_ADMIN));
  VARVE_RETURN_IF_ERROR(mount_kernel_filesystems(root.get(), dev.null.get(),
                                                 {.apart = apart,
                                                  .joined = plan.joined.namespaces,
                                                  .masked = plan.masked_paths,
                                                  .sysctls = plan.sysctls,
                                                  .groups = plan.limits.groups,
                                                  .forbids_cgroup_namespaces = forbids_cgroup_namespaces}));
  VARVE_ASSIGN(made.spent_mount, bind_etc_files(root.get(), dev.directory.get(),
                                                choose_etc_files(plan.hostname, plan.network, connection)));
  VARVE_RETURN_IF_ERROR(mount_volumes(root.get(), plan.mounts, sources));
  if (plan.process.terminal) {
    VARVE_RETURN_IF_ERROR(
        hand_over_terminal(make_terminal(dev.terminals.get(), dev.directory.get()), channel, made.terminal));
  }
  VARVE_RETURN_IF_ERROR(hide_paths_of_image(root.get(), dev.null.get(), plan.masked_paths));
  return enter_root(root);
}

StatusOrFailure set_up(const Plan& plan, const ControlChannel& channel, const UniqueFd& shared_memory,
                       Surroundings& made) {
  VARVE_RETURN_IF_ERROR(wait_for_go(plan, channel));
  // The launcher's memory (its environment, its command line) and its binary (/proc/1/exe) are not for the container:
  // without the dumpable flag only those who may trace a process of the host can look at them (ptrace(2), proc(5)).
  // After the go, because the launcher writes our id maps through /proc, which the flag decides too.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::setsid();
  if (plan.own_namespaces.contains(Namespace::kUts)) VARVE_RETURN_IF_ERROR(set_hostname(plan.hostname));
  if (plan.own_namespaces.contains(Namespace::kNet)) VARVE_RETURN_IF_ERROR(bring_loopback_up());
  if (plan.own_namespaces.contains(Namespace::kMount))
    return set_up_mounts(plan, shared_memory, channel, made);
  VARVE_RETURN_IF_ERROR(enter_groups(plan, channel));
  if (plan.process.terminal) {
    VARVE_RETURN_IF_ERROR(hand_over_terminal(make_host_terminal(), channel, made.terminal));
  }
  return change_root(plan.root.directory);
}

void tell_of_command(const ControlChannel& channel) {
  ControlMessage about_to;
  about_to.kind = ControlMessage::Kind::kCommand;
  // Without a launcher there is nobody to tell, and the kernel is about to end us.
  [[maybe_unused]] const Status told = channel.send(about_to);
}

// Our own hold on the command's input and output would keep the other ends from seeing them closed.
void let_go_of_standard_streams() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) {
    if (null < 0 || ::dup2(null, fd) < 0) ::close(fd);
  }
  ::close_range(3, ~0U, 0);
}

[[noreturn]] void serve_as_init(pid_t command, NamespaceSet own) {
  let_go_of_standard_streams();
  const int exit_status = run_init(command);
  if (!own.contains(Namespace::kPid)) {
    kill_remaining_children();
    if (own.contains(Namespace::kMount)) kill_rest_of_mount_namespace();
  }
  ::_exit(exit_status);
}

}  // namespace

void report_and_exit(const ControlChannel& channel, const StartFailure& failure) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFailed;
  message.exit_status = failure.exit_status;
  message.text = failure.failure.message;
  // When the launcher is gone there is nobody to tell.
  [[maybe_unused]] const Status sent = channel.send(message);
  ::_exit(failure.exit_status);
}

void run_inside(const Plan& plan, ControlChannel inherited, ArgumentArea area, UniqueFd shared_memory) {
  ControlChannel channel = close_all_but(std::move(inherited), shared_memory);
  Surroundings made;
  const StatusOrFailure ready = set_up(plan, channel, shared_memory, made);
  shared_memory.reset();
  if (!ready.ok()) report_and_exit(channel, {ready.error()});
  if (!made.user_files) made.user_files = read_user_files(AT_FDCWD);
  const ResultOrFailure<User> user = find_user(plan.process.user, *made.user_files);
  if (!user.ok()) report_and_exit(channel, {user.error()});
  const StatusOrFailure connected = wait_for_network(plan, channel);
  if (!connected.ok()) report_and_exit(channel, {connected.error()});

  const bool owns_pid_namespace = plan.own_namespaces.contains(Namespace::kPid);
  auto command = [&]() {
    // Nothing that a working directory of /proc/self/fd/N could lead to. The init still holds it, so this is no wait.
    if (made.spent_mount.valid()) ::close(made.spent_mount.get());
    tell_of_command(channel);
    // The init lets go of its own terminal; this one is never closed but by the exec.
    const StartFailure failure = become_command({.plan = plan.process,
                                                 .user = *user,
                                                 .setgroups_denied = plan.id_map.deny_setgroups,
                                                 .terminal = UniqueFd(made.terminal.get())});
    report_and_exit(channel, failure);
  };
  if (!plan.process.init) command();
  if (!owns_pid_namespace) become_subreaper();
  // Before the command can look: what was typed is not for it to read.
  set_process_title(area, "varve-init");
  const Result<pid_t> started = quick_fork(command);
  if (!started.ok()) report_and_exit(channel, {explain(started.error(), "starting the command", "clone")});
  channel.close();
  made = Surroundings();
  serve_as_init(*started, plan.own_namespaces);
}

void run_joined(const ProcessPlan& process, const JoinOptions& options, ControlChannel inherited) {
  UniqueFd nothing;
  const ControlChannel channel = close_all_but(std::move(inherited), nothing);
  tell_of_command(channel);
  if (options.own_user_namespace) {
    // The id outside may not be mapped inside; what is made would belong to nobody, and is refused (EOVERFLOW).
    const StatusOrFailure is_root = become_root_inside();
    if (!is_root.ok()) report_and_exit(channel, {is_root.error()});
  }
  UniqueFd terminal;
  if (process.terminal) {
    const StatusOrFailure handed = hand_over_terminal(make_joined_terminal(), channel, terminal);
    if (!handed.ok()) report_and_exit(channel, {handed.error()});
  }
  const ResultOrFailure<User> user = find_user(process.user, read_user_files(AT_FDCWD));
  if (!user.ok()) report_and_exit(channel, {user.error()});
  const StartFailure failure = become_command({.plan = process,
                                               .user = *user,
                                               .setgroups_denied = options.setgroups_denied,
                                               .terminal = std::move(terminal)});
  report_and_exit(channel, failure);
}

}  // namespace varve::launcher
