#include "launcher/network/tcp_relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace varve::launcher {
namespace {

constexpr std::size_t kChunkBytes = 64 * 1024;

bool would_block() {
  return errno == EAGAIN || errno == EINTR;
}

}  // namespace

TcpRelay::TcpRelay(Poller& poller, UniqueFd listener, struct sockaddr_in container,
                   std::size_t max_connections)
    : poller_(poller),
      listener_(std::move(listener)),
      container_(container),
      max_connections_(max_connections) {
  poller_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_one(); });
}

TcpRelay::~TcpRelay() {
  while (!connections_.empty()) drop(connections_.begin(), false);
  poller_.forget(listener_.get());
}

void TcpRelay::tick() {
  out_of_descriptors_ = false;
  update_listener();
}

void TcpRelay::update_listener() {
  const bool accepts = connections_.size() < max_connections_ && !out_of_descriptors_;
  poller_.set_events(listener_.get(), accepts ? static_cast<std::uint32_t>(EPOLLIN) : 0);
}

void TcpRelay::accept_one() {
  Connection connection;
  connection.client.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!connection.client.valid()) {
    out_of_descriptors_ = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    return update_listener();
  }
  connection.container.reset(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!connection.container.valid()) return;
  const bool failed = ::connect(connection.container.get(), generic(container_), sizeof container_) != 0 &&
                      errno != EINPROGRESS;
  connections_.push_back(std::move(connection));
  const Place place = std::prev(connections_.end());
  // Nothing is read from the client before there is somebody to give it to.
  poller_.watch(place->client.get(), 0, [this, place](std::uint32_t) { carry(place); });
  poller_.watch(place->container.get(), EPOLLOUT,
                [this, place](std::uint32_t events) { handle_container(place, events); });
  if (failed) drop(place, true);
  update_listener();
}

void TcpRelay::handle_container(Place place, std::uint32_t events) {
  if (!place->connected) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(place->container.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    // Refused there is refused here.
    if (error != 0) return drop(place, true);
    place->connected = true;
  }
  carry(place);
}

// Returns: false when the connection has failed.
bool TcpRelay::pump(int from, int to, Direction& direction) {
  if (direction.pending.empty() && !direction.source_ended) {
    std::array<char, kChunkBytes> bytes;  // not initialised: it would be most of the work
    const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
    if (got < 0 && !would_block()) return false;
    if (got == 0) direction.source_ended = true;
    if (got > 0) direction.pending.assign(bytes.data(), static_cast<std::size_t>(got));
  }
  if (!direction.pending.empty()) {
    const ssize_t sent = ::send(to, direction.pending.data(), direction.pending.size(), MSG_NOSIGNAL);
    if (sent < 0 && !would_block()) return false;
    if (sent > 0) direction.pending.erase(0, static_cast<std::size_t>(sent));
  }
  if (direction.source_ended && direction.pending.empty() && !direction.end_passed_on) {
    ::shutdown(to, SHUT_WR);
    direction.end_passed_on = true;
  }
  return true;
}

void TcpRelay::carry(Place place) {
  const int client = place->client.get();
  const int container = place->container.get();
  Direction& there = place->to_container;
  Direction& back = place->to_client;
  if (!pump(client, container, there) || !pump(container, client, back)) return drop(place, true);
  if (there.end_passed_on && back.end_passed_on) return drop(place, false);
  const auto events = [](const Direction& from_it, const Direction& to_it) {
    std::uint32_t wanted = 0;
    if (from_it.pending.empty() && !from_it.source_ended) wanted |= EPOLLIN;
    if (!to_it.pending.empty()) wanted |= EPOLLOUT;
    return wanted;
  };
  poller_.set_events(client, events(there, back));
  poller_.set_events(container, events(back, there));
}

void TcpRelay::drop(Place place, bool reset) {
  if (reset) {
    // close(2) then sends a reset (socket(7), SO_LINGER with no time).
    const struct linger at_once = {1, 0};
    ::setsockopt(place->client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::setsockopt(place->container.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  }
  poller_.forget(place->client.get());
  poller_.forget(place->container.get());
  connections_.erase(place);
  out_of_descriptors_ = false;
  update_listener();
}

}  // namespace varve::launcher
