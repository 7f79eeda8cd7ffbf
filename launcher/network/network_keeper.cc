#include "launcher/network/network_keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "launcher/capabilities.h"
#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"
#include "launcher/network/packet_filter.h"
#include "launcher/network/pasta.h"

namespace varve::launcher {
namespace {

constexpr const char* kStarting = "starting the keeper of the network";

// The lock of the container's record and the ends of the command's pipes are among those that end here.
void close_all_but(std::vector<int> kept) {
  kept.insert(kept.end(), {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO});
  std::sort(kept.begin(), kept.end());
  unsigned first = 0;
  for (const int fd : kept) {
    if (fd < 0) continue;
    const auto number = static_cast<unsigned>(fd);
    if (number > first) ::close_range(first, number - 1, 0);
    first = number + 1;
  }
  ::close_range(first, ~0U, 0);
}

// A session of its own: a Ctrl-C at the launcher's terminal is the container's affair.
void leave_launcher(const KeeperTask& task, const ControlChannel& channel) {
  std::vector<int> kept = {task.container_fd, channel.fd(), task.network_namespace.get(),
                           task.user_namespace.get()};
  for (const BoundPort& one : task.ports) kept.push_back(one.socket.get());
  close_all_but(std::move(kept));
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) {
    if (null < 0 || ::dup2(null, fd) < 0) ::close(fd);
  }
  ::setsid();
  restore_default_signals();
  [[maybe_unused]] const int moved = ::chdir("/");
}

void tell(const ControlChannel& channel, ControlMessage::Kind kind, std::string text = {}) {
  ControlMessage message;
  message.kind = kind;
  message.text = std::move(text);
  // A launcher that is gone needs no news.
  [[maybe_unused]] const Status sent = channel.send(message);
}

// What stays carries bytes of strangers; all it needs of root's powers is to take the interface off in the end.
StatusOrFailure give_up_privileges() {
  VARVE_ASSIGN(const CapabilitySet kept, CapabilitySet::parse("NET_ADMIN"));
  Status done = limit_bounding_set(kept);
  if (done.ok()) done = set_capabilities(kept, CapabilitySet());
  if (!done.ok()) return explain(done.error(), kStarting, "giving up capabilities");
  return {};
}

void keep_bridge(KeeperTask& task, const ControlChannel& channel) {
  const BridgeAttachment& attachment = *task.attachment;
  std::vector<PublishedPort> ports;
  for (const BoundPort& one : task.ports) ports.push_back(one.port);
  // Held until the end: the rules go with it.
  const ResultOrFailure<PacketFilter> filter =
      PacketFilter::apply(filter_rules(task.container_id, attachment.address.base, ports));
  if (!filter.ok()) {
    tell(channel, ControlMessage::Kind::kWarning,
         filter.error().message +
             ": the container has no way out of the host, and published ports are carried in user space");
  }
  const StatusOrFailure harmless = give_up_privileges();
  if (!harmless.ok()) return tell(channel, ControlMessage::Kind::kFailed, harmless.error().message);
  tell(channel, ControlMessage::Kind::kGo);
  const Status served = relay_ports(std::move(task.ports), attachment.address.base, task.container_fd);
  if (!served.ok()) {
    tell(channel, ControlMessage::Kind::kWarning, explain(served.error(), kStarting, "epoll").message);
  }
  // Not waited for by anybody: it takes the kernel a while.
  const StatusOrFailure gone = detach_from_bridge(attachment.host_link, task.container_id);
  if (!gone.ok()) tell(channel, ControlMessage::Kind::kWarning, gone.error().message);
}

void wait_for_end_with_pasta(const KeeperTask& task, const ControlChannel& channel) {
  constexpr int kLookMs = 1'000;
  struct pollfd container = {task.container_fd, POLLIN, 0};
  bool has_pasta = true;
  while (::poll(&container, 1, has_pasta ? kLookMs : -1) <= 0) {
    if (!has_pasta || ::waitpid(-1, nullptr, WNOHANG) >= 0 || errno != ECHILD) continue;
    has_pasta = false;
    tell(channel, ControlMessage::Kind::kWarning,
         "the network of the container is gone: pasta has ended by itself (see the system log)");
  }
}

void keep_pasta(const KeeperTask& task, const ControlChannel& channel) {
  const StatusOrFailure started =
      start_pasta(task.plan, {task.network_namespace.get(), task.user_namespace.get()});
  if (!started.ok()) return tell(channel, ControlMessage::Kind::kFailed, started.error().message);
  tell(channel, ControlMessage::Kind::kGo);
  wait_for_end_with_pasta(task, channel);
  kill_remaining_children();
}

[[noreturn]] void become_keeper(KeeperTask task, ControlChannel channel) {
  leave_launcher(task, channel);
  if (task.plan.mode == NetworkMode::kBridge) {
    keep_bridge(task, channel);
  } else {
    keep_pasta(task, channel);
  }
  ::_exit(0);
}

}  // namespace

ResultOrFailure<NetworkKeeper> NetworkKeeper::start(KeeperTask task) {
  Result<std::pair<ControlChannel, ControlChannel>> channel = ControlChannel::make_pair();
  if (!channel.ok()) return explain(channel.error(), kStarting, "socketpair");
  const pid_t pid = ::fork();
  if (pid == 0) {
    channel->first.close();
    become_keeper(std::move(task), std::move(channel->second));
  }
  if (pid < 0) return explain(Errno::last(), kStarting, "fork");
  return NetworkKeeper(std::move(channel->first));
}

NetworkKeeper::News NetworkKeeper::receive() {
  Result<ControlMessage> message = channel_.receive();
  if (!message.ok() || message->kind == ControlMessage::Kind::kEnd) {
    channel_.close();
    return {};
  }
  if (message->kind == ControlMessage::Kind::kGo) return {News::Kind::kReady, {}};
  if (message->kind == ControlMessage::Kind::kWarning)
    return {News::Kind::kWarning, std::move(message->text)};
  channel_.close();
  return {News::Kind::kFailed, std::move(message->text)};
}

}  // namespace varve::launcher
