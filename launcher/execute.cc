#include "launcher/execute.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "fs/base/log.h"
#include "launcher/explain.h"
#include "launcher/inside/entry.h"
#include "launcher/inside/pid_init.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/network/container_network.h"
#include "launcher/outside/container_record.h"
#include "launcher/outside/daemon.h"
#include "launcher/outside/terminal_relay.h"

namespace varve::launcher {
namespace {

// How long the daemon may take to write out and end after its mount is gone.
constexpr int kDaemonEndTimeoutMs = 60'000;
// How long a container that reports a failure waits for the daemon to have told its own, which explains more.
constexpr int kDaemonFailureTimeoutMs = 1'000;

struct Container {
  pid_t pid = 0;
  UniqueFd process;         // pidfd
  UniqueFd user_namespace;  // for the daemon, when it joins it
};

// One fork: clone3(2) makes the namespaces and the process in them at once. The child runs on a copy of this memory.
ResultOrFailure<Container> clone_container(const Plan& plan,
                                           std::pair<ControlChannel, ControlChannel>& channel,
                                           ArgumentArea area) {
  int process_fd = -1;
  struct clone_args arguments = {};
  arguments.flags = plan.own_namespaces.clone_flags() | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&process_fd);
  arguments.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    channel.first.close();
    run_inside(plan, std::move(channel.second), area);
  }
  if (pid < 0) {
    return explain(Errno::last(), "making the container's namespaces", plan.own_namespaces.text(),
                   "is the number of namespaces limited? see /proc/sys/user; --share keeps some in common "
                   "with the host");
  }
  channel.second.close();
  return Container{static_cast<pid_t>(pid), UniqueFd(process_fd), {}};
}

bool has_ended(const Container& container) {
  struct pollfd process = {container.process.get(), POLLIN, 0};
  return ::poll(&process, 1, 0) > 0;
}

// Serves one container from its go to its end.
class Supervisor {
 public:
  Supervisor(const Plan& plan, Container container, ControlChannel channel, UniqueFd signals)
      : plan_(plan),
        container_(std::move(container)),
        channel_(std::move(channel)),
        signals_(std::move(signals)) {}

  void hold_network(ContainerNetwork network) { network_.emplace(std::move(network)); }
  // Returns when the container and its daemon have ended.
  Outcome serve(int lock_fd);

 private:
  void handle_message();
  void handle_signal();
  void handle_daemon();
  void handle_network();
  void start_daemon(UniqueFd device);
  void fail(int exit_status, Failure failure);
  void poll_once();
  int reap();
  void finish_daemon();
  bool started() const { return channel_.fd() < 0; }

  const Plan& plan_;
  Container container_;
  ControlChannel channel_;  // closed once the command runs
  UniqueFd signals_;
  int lock_fd_ = -1;
  std::optional<Daemon> daemon_;
  std::optional<ContainerNetwork> network_;
  std::unique_ptr<TerminalRelay> terminal_;
  std::optional<Outcome> failed_;
  bool ended_ = false;
};

void Supervisor::fail(int exit_status, Failure failure) {
  if (!failed_) failed_ = Outcome{exit_status, std::move(failure)};
  [[maybe_unused]] const Status ignored =
      send_signal(container_.process.get(), SIGKILL);  // ESRCH: it is dead already
}

void Supervisor::start_daemon(UniqueFd device) {
  ResultOrFailure<Daemon> daemon = Daemon::start(plan_.daemon_path, plan_.root,
                                                 {.device = std::move(device),
                                                  .lock_fd = lock_fd_,
                                                  .user_namespace = std::move(container_.user_namespace)});
  if (!daemon.ok()) return fail(kLauncherFailed, daemon.error());
  daemon_.emplace(std::move(daemon).value());
}

void Supervisor::handle_message() {
  Result<ControlMessage> message = channel_.receive();
  if (!message.ok())
    return fail(kLauncherFailed, explain(message.error(), "hearing from the container", plan_.name));
  switch (message->kind) {
    case ControlMessage::Kind::kFuseDevice:
      return start_daemon(std::move(message->fd));
    case ControlMessage::Kind::kTerminal:
      terminal_ = std::make_unique<TerminalRelay>(std::move(message->fd), plan_.process.interactive);
      return;
    case ControlMessage::Kind::kFailed:
      // Without its daemon the root answers nothing, and that is what the container would complain of.
      if (daemon_ && daemon_->wait(kDaemonFailureTimeoutMs).value_or(0) != 0) return handle_daemon();
      return fail(message->exit_status, Failure{EIO, std::move(message->text)});
    case ControlMessage::Kind::kWarning:
      return log_warning("{}", message->text);
    case ControlMessage::Kind::kEnd:
    case ControlMessage::Kind::kGo:
    case ControlMessage::Kind::kNetworkUp:
      return channel_.close();
  }
}

void Supervisor::handle_signal() {
  struct signalfd_siginfo info = {};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
  const int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGCHLD || signal == SIGPIPE) return;  // ours
  if (signal == SIGWINCH && terminal_) return terminal_->resize();
  [[maybe_unused]] const Status ignored =
      send_signal(container_.process.get(), signal);  // ESRCH: it is dead already
}

void Supervisor::handle_daemon() {
  daemon_->read_output();
  const std::optional<int> exit_status = daemon_->wait(0);
  const bool is_early = !started() && !failed_;
  if (exit_status.value_or(0) != 0 && is_early) {
    std::string said = daemon_->take_output();
    while (!said.empty() && said.back() == '\n') said.pop_back();
    return fail(kLauncherFailed,
                Failure{EIO, fmt::format("mounting the image: {}: exit status {}{}{}", plan_.daemon_path,
                                         *exit_status, said.empty() ? "" : ":\n", said)});
  }
  if (!is_early) {
    const std::string said = daemon_->take_output();
    // A standard error that is gone has no reader to miss it.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, said.data(), said.size());
  }
}

void Supervisor::handle_network() {
  const NetworkKeeper::News news = network_->keeper().receive();
  switch (news.kind) {
    case NetworkKeeper::News::Kind::kReady: {
      ControlMessage up;
      up.kind = ControlMessage::Kind::kNetworkUp;
      [[maybe_unused]] const Status sent = channel_.send(up);  // EPIPE: it has failed, and says so itself
      return;
    }
    case NetworkKeeper::News::Kind::kWarning:
      return log_warning("{}", news.text);
    case NetworkKeeper::News::Kind::kFailed:
      return fail(kLauncherFailed, Failure{EIO, news.text});
    case NetworkKeeper::News::Kind::kEnd:
      if (has_ended(container_)) return;  // as it should
      if (!started()) {
        return fail(kLauncherFailed, refuse("connecting the container", plan_.name, "its keeper was killed"));
      }
      return log_warning("the network of {} is gone: its keeper was killed", plan_.name);
  }
}

void Supervisor::poll_once() {
  std::vector<struct pollfd> polled = {{container_.process.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  if (!started()) polled.push_back({channel_.fd(), POLLIN, 0});
  if (daemon_ && daemon_->output_fd() >= 0) polled.push_back({daemon_->output_fd(), POLLIN, 0});
  if (daemon_ && !daemon_->has_ended()) polled.push_back({daemon_->process_fd(), POLLIN, 0});
  if (network_ && network_->keeper().channel_fd() >= 0) {
    polled.push_back({network_->keeper().channel_fd(), POLLIN, 0});
  }
  if (terminal_) terminal_->add_to(polled);
  if (::poll(polled.data(), polled.size(), -1) < 0) return;

  // In this order: what the container has said before it ended counts.
  for (const struct pollfd& one : polled) {
    if (one.revents == 0) continue;
    if (one.fd == signals_.get()) handle_signal();
    if (!started() && one.fd == channel_.fd()) return handle_message();
    if (network_ && one.fd == network_->keeper().channel_fd()) handle_network();
    if (daemon_ && (one.fd == daemon_->output_fd() || one.fd == daemon_->process_fd())) handle_daemon();
  }
  if (terminal_) terminal_->handle(polled);
  ended_ = polled[0].revents != 0;
}

int Supervisor::reap() {
  int wait_status = 0;
  ::waitpid(container_.pid, &wait_status, 0);
  return exit_status_of(wait_status);
}

void Supervisor::finish_daemon() {
  if (!daemon_) return;
  const std::optional<int> exit_status = daemon_->wait(kDaemonEndTimeoutMs);
  handle_daemon();
  if (!exit_status) {
    log_warning(
        "ending the container: {}: its file system daemon still writes (what it wrote last may not be kept)",
        plan_.name);
  } else if (*exit_status != 0 && !failed_) {
    log_error(
        "ending the container: {}: its file system daemon ended with {} (what it wrote last may not be kept)",
        plan_.name, *exit_status);
  }
}

Outcome Supervisor::serve(int lock_fd) {
  lock_fd_ = lock_fd;
  while (!ended_) poll_once();
  const int exit_status = reap();
  if (terminal_) terminal_->drain();
  terminal_.reset();
  finish_daemon();
  if (failed_) return std::move(*failed_);
  return Outcome{exit_status, {}};
}

// What must be done to a container that waits for its go. Returns: a Failure; the container waits still.
StatusOrFailure prepare_container(const Plan& plan, Container& container) {
  if (!plan.own_namespaces.contains(Namespace::kUser)) return {};
  VARVE_RETURN_IF_ERROR(write_id_map(container.pid, plan.id_map));
  if (!plan.daemon_in_user_namespace) return {};
  // Before the go: afterwards the container does not let itself be looked into, not by an ordinary user either.
  const std::string path = fmt::format("/proc/{}/ns/user", container.pid);
  container.user_namespace.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!container.user_namespace.valid()) {
    return explain(Errno::last(), "opening the container's user namespace", path);
  }
  return {};
}

// Makes the network of a container that waits for its go, where it needs one.
ResultOrFailure<std::optional<ContainerNetwork>> connect_network(const Plan& plan,
                                                                 const Container& container) {
  if (!plan.network.is_connected()) return std::optional<ContainerNetwork>();
  VARVE_ASSIGN(ContainerNetwork network,
               ContainerNetwork::connect(
                   plan.network, {.pid = container.pid,
                                  .process_fd = container.process.get(),
                                  .own_user_namespace = plan.own_namespaces.contains(Namespace::kUser),
                                  .container_id = plan.id}));
  return std::optional<ContainerNetwork>(std::move(network));
}

StatusOrFailure begin(const Plan& plan, Container& container, std::optional<ContainerRecord>& record,
                      const ControlChannel& channel, std::optional<ContainerNetwork>& network) {
  VARVE_RETURN_IF_ERROR(prepare_container(plan, container));
  VARVE_ASSIGN(network, connect_network(plan, container));
  image::ContainerNetworkState about_network;
  about_network.mode = to_text(plan.network.mode);
  if (record) {
    VARVE_RETURN_IF_ERROR(record->set_running(container.pid, network ? network->state() : about_network));
  }
  ControlMessage go;
  go.kind = ControlMessage::Kind::kGo;
  if (network) go.text = network->connection().text();
  if (!channel.send(go).ok()) return refuse("starting the container", plan.name, "it died at once");
  return {};
}

// Standard input of the command: the launcher's own only when it was asked for.
StatusOrFailure choose_standard_input(const ProcessPlan& process) {
  if (process.interactive) return {};
  const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid() || ::dup2(null.get(), STDIN_FILENO) < 0) {
    return explain(Errno::last(), "opening the command's standard input", "/dev/null");
  }
  return {};
}

// The command has them now; our own hold would keep the other ends from seeing them closed.
void let_go_of_input_and_output() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  // Without a /dev/null they stay open, which is untidy and nothing worse.
  if (!null.valid() || ::dup2(null.get(), STDIN_FILENO) < 0 || ::dup2(null.get(), STDOUT_FILENO) < 0) return;
}

ResultOrFailure<Outcome> run(const Plan& plan, std::optional<ContainerRecord>& record, ArgumentArea area) {
  VARVE_RETURN_IF_ERROR(choose_standard_input(plan.process));
  block_forwarded_signals();
  sigset_t waited;
  ::sigprocmask(SIG_SETMASK, nullptr, &waited);
  UniqueFd signals(::signalfd(-1, &waited, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return explain(Errno::last(), "waiting for signals", "signalfd");
  Result<std::pair<ControlChannel, ControlChannel>> channel = ControlChannel::make_pair();
  if (!channel.ok()) return explain(channel.error(), "making a line to the container", "socketpair");
  VARVE_ASSIGN(Container container, clone_container(plan, *channel, area));

  if (!plan.process.terminal) let_go_of_input_and_output();
  std::optional<ContainerNetwork> network;
  const StatusOrFailure begun = begin(plan, container, record, channel->first, network);
  if (!begun.ok()) {
    [[maybe_unused]] const Status ignored = send_signal(container.process.get(), SIGKILL);
    ::waitpid(container.pid, nullptr, 0);
    return begun.error();
  }
  Supervisor supervisor(plan, std::move(container), std::move(channel->first), std::move(signals));
  if (network) supervisor.hold_network(std::move(*network));
  return supervisor.serve(record ? record->lock_fd() : -1);
}

}  // namespace

Outcome execute(const Plan& plan, ArgumentArea area) {
  std::optional<ContainerRecord> record;
  if (plan.recorded) {
    ResultOrFailure<ContainerRecord> created = ContainerRecord::create(plan);
    if (!created.ok()) return Outcome{kLauncherFailed, created.error()};
    record.emplace(std::move(created).value());
  }
  const ResultOrFailure<Outcome> ran = run(plan, record, area);
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
