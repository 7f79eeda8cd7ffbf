#include "launcher/outside/supervisor.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/kernel/process_identity.h"

namespace varve::launcher {
namespace {

// How long the daemon may take to write out and end after its mount is gone.
constexpr int kDaemonEndTimeoutMs = 60'000;
// How long a container that reports a failure waits for the daemon to have told its own, which explains more.
constexpr int kDaemonFailureTimeoutMs = 1'000;
// How long a container whose daemon has ended may take to have ended as well.
constexpr int kContainerEndTimeoutMs = 100;

}  // namespace

void Supervisor::fail(int exit_status, Failure failure) {
  if (!failed_) failed_ = Outcome{exit_status, std::move(failure)};
  [[maybe_unused]] const Status ignored =
      send_signal(container_.process.get(), SIGKILL);  // ESRCH: it is dead already
}

void Supervisor::handle_message() {
  Result<ControlMessage> message = channel_.receive();
  if (!message.ok())
    return fail(kLauncherFailed, explain(message.error(), "hearing from the container", plan_.name));
  switch (message->kind) {
    case ControlMessage::Kind::kFuseDevice:
      return daemon_->give_device(std::move(message->fd));
    case ControlMessage::Kind::kTerminal:
      terminal_ = surroundings_.log != nullptr
                      ? std::make_unique<TerminalRelay>(std::move(message->fd), *surroundings_.log)
                      : std::make_unique<TerminalRelay>(std::move(message->fd), plan_.process.interactive);
      return;
    case ControlMessage::Kind::kCommand:
      return handle_command(message->sender);
    case ControlMessage::Kind::kFailed:
      // Without its daemon the root answers nothing, and that is what the container would complain of.
      if (daemon_ && daemon_->has_device() && daemon_->wait(kDaemonFailureTimeoutMs).value_or(0) != 0)
        return handle_daemon();
      return fail(message->exit_status, Failure{EIO, std::move(message->text)});
    case ControlMessage::Kind::kWarning:
      return log_warning("{}", message->text);
    case ControlMessage::Kind::kEnd:
    case ControlMessage::Kind::kGo:
    case ControlMessage::Kind::kGroup:
    case ControlMessage::Kind::kPrepared:
    case ControlMessage::Kind::kJoined:
    case ControlMessage::Kind::kNetworkUp:
      return handle_start();
  }
}

void Supervisor::handle_command(pid_t command) {
  if (surroundings_.record == nullptr) return;
  const Result<ProcessIdentity> first = identify_process(container_.pid);
  const Result<ProcessIdentity> identity = identify_process(command);
  // A command that has ended already is not worth writing down.
  if (!first.ok() || !identity.ok()) return;
  const StatusOrFailure recorded = surroundings_.record->set_running(*first, *identity);
  if (!recorded.ok()) fail(kLauncherFailed, recorded.error());
}

// The other end of the channel is closed: by the exec of the command, or because all is over already.
void Supervisor::handle_start() {
  channel_.close();
  if (failed_) return;
  if (plan_.lifetime.timeout_seconds > 0) {
    deadline_ = std::chrono::steady_clock::now() + std::chrono::seconds(plan_.lifetime.timeout_seconds);
  }
  if (surroundings_.on_started && !surroundings_.on_started()) {
    fail(kLauncherFailed, refuse("starting in the background", plan_.name, "who started it is gone"));
  }
}

void Supervisor::handle_signal() {
  struct signalfd_siginfo info = {};
  if (::read(signals_.get(), &info, sizeof info) != sizeof info) return;
  int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGCHLD || signal == SIGPIPE) return;  // ours
  if (signal == SIGWINCH && terminal_) return terminal_->resize();
  // Whoever asks a second time means it.
  const bool is_second =
      signal == SIGTERM && std::exchange(asked_to_end_, asked_to_end_ || signal == SIGTERM);
  if (is_second) signal = SIGKILL;
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
  if (exit_status.value_or(0) != 0 && !ended_ && !failed_) handle_lost_daemon(*exit_status);
}

// The root answers nothing any more. A container that is ending takes its mount along before it can be seen to have ended.
void Supervisor::handle_lost_daemon(int exit_status) {
  if (has_ended(kContainerEndTimeoutMs)) return;
  fail(kLauncherFailed,
       Failure{EIO, fmt::format(
                        "serving the container's files: {}: ended with {}; the container was killed (what it "
                        "wrote last may not be kept)",
                        plan_.daemon_path, exit_status)});
}

bool Supervisor::has_ended(int timeout_ms) const {
  struct pollfd ended = {container_.process.get(), POLLIN, 0};
  return ::poll(&ended, 1, timeout_ms) > 0;
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
      if (has_ended()) return;  // as it should
      if (!started()) {
        return fail(kLauncherFailed, refuse("connecting the container", plan_.name, "its keeper was killed"));
      }
      keeper_is_lost_ = true;
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
  if (surroundings_.output != nullptr) surroundings_.output->add_to(polled);
  if (::poll(polled.data(), polled.size(), remaining_ms()) < 0) return;

  // In this order: what the container has said before it ended counts.
  for (const struct pollfd& one : polled) {
    if (one.revents == 0) continue;
    if (one.fd == signals_.get()) handle_signal();
    if (!started() && one.fd == channel_.fd()) return handle_message();
    if (network_ && one.fd == network_->keeper().channel_fd()) handle_network();
    if (daemon_ && (one.fd == daemon_->output_fd() || one.fd == daemon_->process_fd())) handle_daemon();
  }
  if (terminal_) terminal_->handle(polled);
  if (surroundings_.output != nullptr) surroundings_.output->handle(polled);
  ended_ = polled[0].revents != 0;
}

int Supervisor::remaining_ms() {
  if (!deadline_) return -1;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - std::chrono::steady_clock::now());
  // A little at a time, since poll(2) takes an int.
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(1);
  if (left.count() > 0) return static_cast<int>(std::min(left, kLongest).count()) + 1;
  deadline_.reset();
  log_warning("ending the container: {}: it has run for {} s (--timeout)", plan_.name,
              plan_.lifetime.timeout_seconds);
  [[maybe_unused]] const Status ignored =
      send_signal(container_.process.get(), SIGKILL);  // ESRCH: it is dead already
  return -1;
}

int Supervisor::reap() {
  int wait_status = 0;
  ::waitpid(container_.pid, &wait_status, __WALL);
  return exit_status_of(wait_status);
}

void Supervisor::finish_daemon() {
  if (!daemon_) return;
  if (!daemon_->has_device()) return daemon_->call_off();
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

Outcome Supervisor::serve() {
  while (!ended_) poll_once();
  const int exit_status = reap();
  if (keeper_is_lost_) {
    const StatusOrFailure cleaned = network_->clean_up_after_keeper(plan_.id);
    if (!cleaned.ok()) log_warning("{}", cleaned.error().message);
  }
  if (terminal_) terminal_->drain();
  terminal_.reset();
  if (surroundings_.output != nullptr) surroundings_.output->drain();
  if (surroundings_.on_ended) surroundings_.on_ended();
  finish_daemon();
  if (failed_) return std::move(*failed_);
  return Outcome{exit_status, {}};
}

ResultOrFailure<UniqueFd> catch_signals() {
  block_forwarded_signals();
  sigset_t waited;
  ::sigprocmask(SIG_SETMASK, nullptr, &waited);
  UniqueFd signals(::signalfd(-1, &waited, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return explain(Errno::last(), "waiting for signals", "signalfd");
  return signals;
}

}  // namespace varve::launcher
