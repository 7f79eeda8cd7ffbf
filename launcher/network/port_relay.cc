#include "launcher/network/port_relay.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "launcher/explain.h"
#include "launcher/network/poller.h"
#include "launcher/network/socket_address.h"
#include "launcher/network/tcp_relay.h"
#include "launcher/network/udp_relay.h"

namespace varve::launcher {
namespace {

constexpr const char* kPublishing = "publishing a port";
constexpr std::chrono::seconds kTick{5};

Failure explain_bind(const PublishedPort& port) {
  const int error = errno;
  if (error == EADDRINUSE) {
    return explain(Errno{error}, kPublishing, to_text(port),
                   fmt::format("something on the host has port {}; choose another with -p, or leave the "
                               "host's port out for a free one",
                               port.host_port));
  }
  if (error == EADDRNOTAVAIL) {
    return explain(Errno{error}, kPublishing, to_text(port), "the host has no such address; see ip address");
  }
  if (error == EACCES) {
    return explain(Errno{error}, kPublishing, to_text(port),
                   "ports below net.ipv4.ip_unprivileged_port_start are root's; choose a higher one");
  }
  if (error == EMFILE) {
    return explain(Errno{error}, kPublishing, to_text(port), "publish fewer, or raise ulimit -n");
  }
  return explain(Errno{error}, kPublishing, to_text(port));
}

ResultOrFailure<BoundPort> bind_port(PublishedPort port) {
  const int type = port.protocol == Protocol::kTcp ? SOCK_STREAM : SOCK_DGRAM;
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return explain_bind(port);
  const int on = 1;
  if (port.protocol == Protocol::kTcp) {
    // Connections of the last container that are still on their way out do not hold the port.
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  } else {
    ::setsockopt(socket.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  }
  struct sockaddr_in address = socket_address(port.host_address, port.host_port);
  if (::bind(socket.get(), generic(address), sizeof address) != 0 ||
      (port.protocol == Protocol::kTcp && ::listen(socket.get(), SOMAXCONN) != 0)) {
    return explain_bind(port);
  }
  socklen_t size = sizeof address;
  if (::getsockname(socket.get(), reinterpret_cast<struct sockaddr*>(&address), &size) != 0) {
    return explain_bind(port);
  }
  port.host_port = ntohs(address.sin_port);
  return BoundPort{port, std::move(socket)};
}

// How many connections there may be at once. Raises the process's limit of descriptors as far as it may.
std::size_t connections_possible() {
  constexpr std::size_t kMost = 20'000;
  constexpr std::size_t kKept = 64;  // for everything else
  struct rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kKept;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return std::min<std::size_t>(kMost, limit.rlim_cur > 3 * kKept ? (limit.rlim_cur - kKept) / 2 : kKept);
}

}  // namespace

ResultOrFailure<std::vector<BoundPort>> bind_ports(const std::vector<PublishedPort>& ports) {
  std::vector<BoundPort> bound;
  for (const PublishedPort& port : ports) {
    VARVE_ASSIGN(BoundPort one, bind_port(port));
    bound.push_back(std::move(one));
  }
  return bound;
}

Status relay_ports(std::vector<BoundPort> ports, Ipv4Address container, int end_fd) {
  Result<Poller> poller = Poller::create();
  if (!poller.ok()) return poller.error();
  std::vector<std::unique_ptr<TcpRelay>> tcp;
  std::vector<std::unique_ptr<UdpRelay>> udp;
  const std::size_t each =
      std::max<std::size_t>(1, connections_possible() / std::max<std::size_t>(ports.size(), 1));
  for (BoundPort& one : ports) {
    const struct sockaddr_in target = socket_address(container, one.port.container_port);
    if (one.port.protocol == Protocol::kTcp) {
      tcp.push_back(std::make_unique<TcpRelay>(*poller, std::move(one.socket), target, each));
    } else {
      udp.push_back(std::make_unique<UdpRelay>(*poller, std::move(one.socket), target, each));
    }
  }
  bool ended = false;
  poller->watch(end_fd, EPOLLIN, [&](std::uint32_t) { ended = true; });
  auto last_tick = std::chrono::steady_clock::now();
  while (!ended) {
    poller->wait(ports.empty() ? -1 : static_cast<int>(std::chrono::milliseconds(kTick).count()));
    const auto now = std::chrono::steady_clock::now();
    if (now - last_tick < kTick) continue;
    last_tick = now;
    for (const auto& one : tcp) one->tick();
    for (const auto& one : udp) one->tick();
  }
  return {};
}

}  // namespace varve::launcher
