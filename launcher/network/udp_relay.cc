#include "launcher/network/udp_relay.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace varve::launcher {
namespace {

constexpr std::size_t kMaxDatagramBytes = 64 * 1024;
// As long as the kernel's connection tracking keeps a stream of datagrams (nf_conntrack_udp_timeout_stream).
constexpr std::chrono::seconds kSilence{120};

struct alignas(cmsghdr) InfoBuffer {
  std::array<char, CMSG_SPACE(sizeof(struct in_pktinfo))> bytes;
};

struct Envelope {
  struct sockaddr_in peer = {};
  struct in_addr own = {};
};

ssize_t receive(int socket, char* bytes, Envelope& envelope) {
  struct iovec piece = {bytes, kMaxDatagramBytes};
  InfoBuffer buffer{};
  struct msghdr header = {};
  header.msg_name = &envelope.peer;
  header.msg_namelen = sizeof envelope.peer;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = buffer.bytes.data();
  header.msg_controllen = buffer.bytes.size();
  const ssize_t got = ::recvmsg(socket, &header, 0);
  const struct cmsghdr* attached = got < 0 ? nullptr : CMSG_FIRSTHDR(&header);
  if (attached != nullptr && attached->cmsg_level == IPPROTO_IP && attached->cmsg_type == IP_PKTINFO) {
    struct in_pktinfo info = {};
    std::memcpy(&info, CMSG_DATA(attached), sizeof info);
    envelope.own = info.ipi_addr;
  }
  return got;
}

void send(int socket, const char* bytes, std::size_t size, const Envelope& envelope) {
  struct iovec piece = {const_cast<char*>(bytes), size};
  struct sockaddr_in peer = envelope.peer;
  InfoBuffer buffer{};
  struct msghdr header = {};
  header.msg_name = &peer;
  header.msg_namelen = sizeof peer;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = buffer.bytes.data();
  header.msg_controllen = buffer.bytes.size();
  struct cmsghdr* attached = CMSG_FIRSTHDR(&header);
  attached->cmsg_level = IPPROTO_IP;
  attached->cmsg_type = IP_PKTINFO;
  attached->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {};
  info.ipi_spec_dst = envelope.own;
  std::memcpy(CMSG_DATA(attached), &info, sizeof info);
  // A datagram that does not get through is lost, as on any way.
  [[maybe_unused]] const ssize_t sent = ::sendmsg(socket, &header, 0);
}

}  // namespace

UdpRelay::UdpRelay(Poller& poller, UniqueFd socket, struct sockaddr_in container, std::size_t max_senders)
    : poller_(poller), socket_(std::move(socket)), container_(container), max_senders_(max_senders) {
  poller_.watch(socket_.get(), EPOLLIN, [this](std::uint32_t) { take_from_outside(); });
}

UdpRelay::~UdpRelay() {
  while (!senders_.empty()) forget(senders_.begin());
  poller_.forget(socket_.get());
}

void UdpRelay::tick() {
  const auto now = std::chrono::steady_clock::now();
  while (!senders_.empty() && now - senders_.front().last_used > kSilence) forget(senders_.begin());
}

UdpRelay::Place UdpRelay::find_or_add(const struct sockaddr_in& address, struct in_addr asked) {
  const auto found = std::find_if(senders_.begin(), senders_.end(), [&](const Sender& one) {
    return one.address.sin_port == address.sin_port &&
           one.address.sin_addr.s_addr == address.sin_addr.s_addr && one.asked.s_addr == asked.s_addr;
  });
  if (found != senders_.end()) {
    senders_.splice(senders_.end(), senders_, found);
    return found;
  }
  if (senders_.size() >= max_senders_) forget(senders_.begin());
  Sender sender;
  sender.address = address;
  sender.asked = asked;
  sender.socket.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!sender.socket.valid() || ::connect(sender.socket.get(), generic(container_), sizeof container_) != 0) {
    return senders_.end();
  }
  senders_.push_back(std::move(sender));
  const Place place = std::prev(senders_.end());
  poller_.watch(place->socket.get(), EPOLLIN, [this, place](std::uint32_t) { take_from_container(place); });
  return place;
}

void UdpRelay::take_from_outside() {
  std::array<char, kMaxDatagramBytes> bytes;  // not initialised: it would be most of the work
  Envelope envelope;
  const ssize_t got = receive(socket_.get(), bytes.data(), envelope);
  if (got < 0) return;
  const Place place = find_or_add(envelope.peer, envelope.own);
  if (place == senders_.end()) return;
  place->last_used = std::chrono::steady_clock::now();
  [[maybe_unused]] const ssize_t sent =
      ::send(place->socket.get(), bytes.data(), static_cast<std::size_t>(got), 0);
}

void UdpRelay::take_from_container(Place place) {
  std::array<char, kMaxDatagramBytes> bytes;  // as above
  const ssize_t got = ::recv(place->socket.get(), bytes.data(), bytes.size(), 0);
  if (got < 0) return;  // ECONNREFUSED: nobody listens there, which UDP does not tell the sender
  place->last_used = std::chrono::steady_clock::now();
  senders_.splice(senders_.end(), senders_, place);
  send(socket_.get(), bytes.data(), static_cast<std::size_t>(got), {place->address, place->asked});
}

void UdpRelay::forget(Place place) {
  poller_.forget(place->socket.get());
  senders_.erase(place);
}

}  // namespace varve::launcher
