#include "launcher/network/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <vector>

namespace varve::launcher {
namespace {

// Bigger than any message of a dump (NLMSG_GOODSIZE is at most 32 KiB, linux/netlink.h).
constexpr std::size_t kReceiveBytes = 64 * 1024;

std::size_t aligned(std::size_t size) {
  return NLMSG_ALIGN(size);
}

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags)
    : is_dump_((flags & NLM_F_DUMP) == NLM_F_DUMP) {
  struct nlmsghdr header = {};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  put(header);
}

NetlinkMessage& NetlinkMessage::put_bytes(std::string_view bytes) {
  bytes_.append(bytes);
  bytes_.resize(aligned(bytes_.size()));
  return *this;
}

NetlinkMessage& NetlinkMessage::put_attribute(std::uint16_t type, std::string_view bytes) {
  const std::size_t start = begin_nested(type);
  bytes_.append(bytes);
  return end_nested(start);
}
NetlinkMessage& NetlinkMessage::put_text(std::uint16_t type, const std::string& text) {
  return put_attribute(type, {text.c_str(), text.size() + 1});
}
NetlinkMessage& NetlinkMessage::put_number(std::uint16_t type, std::uint32_t number) {
  return put_attribute(type, {reinterpret_cast<const char*>(&number), sizeof number});
}
NetlinkMessage& NetlinkMessage::put_address(std::uint16_t type, std::uint32_t ipv4) {
  return put_number(type, htonl(ipv4));
}

std::size_t NetlinkMessage::begin_nested(std::uint16_t type) {
  const std::size_t start = bytes_.size();
  const struct rtattr header = {0, type};
  bytes_.append(reinterpret_cast<const char*>(&header), sizeof header);
  return start;
}

NetlinkMessage& NetlinkMessage::end_nested(std::size_t start) {
  const auto length = static_cast<unsigned short>(bytes_.size() - start);  // rta_len: without the padding
  std::memcpy(bytes_.data() + start + offsetof(rtattr, rta_len), &length, sizeof length);
  bytes_.resize(aligned(bytes_.size()));
  return *this;
}

const std::string& NetlinkMessage::finish(std::uint32_t sequence, bool acknowledge) {
  struct nlmsghdr header = {};
  std::memcpy(&header, bytes_.data(), sizeof header);
  header.nlmsg_len = static_cast<std::uint32_t>(bytes_.size());
  header.nlmsg_seq = sequence;
  if (acknowledge) header.nlmsg_flags |= NLM_F_ACK;
  std::memcpy(bytes_.data(), &header, sizeof header);
  return bytes_;
}

bool NetlinkAnswer::read_bytes(void* to, std::size_t size) const {
  if (header_->nlmsg_len < NLMSG_HDRLEN + size) return false;
  std::memcpy(to, reinterpret_cast<const char*>(header_) + NLMSG_HDRLEN, size);
  return true;
}

std::string_view NetlinkAnswer::attribute(std::size_t fixed_bytes, std::uint16_t type) const {
  std::size_t at = NLMSG_HDRLEN + aligned(fixed_bytes);
  const char* bytes = reinterpret_cast<const char*>(header_);
  while (at + sizeof(struct rtattr) <= header_->nlmsg_len) {
    struct rtattr one = {};
    std::memcpy(&one, bytes + at, sizeof one);
    if (one.rta_len < sizeof one || at + one.rta_len > header_->nlmsg_len) return {};
    if ((one.rta_type & NLA_TYPE_MASK) == type) return {bytes + at + sizeof one, one.rta_len - sizeof one};
    at += aligned(one.rta_len);
  }
  return {};
}

std::string NetlinkAnswer::text(std::size_t fixed_bytes, std::uint16_t type) const {
  const std::string_view bytes = attribute(fixed_bytes, type);
  return std::string(bytes.substr(0, bytes.find('\0')));
}

std::uint32_t NetlinkAnswer::number(std::size_t fixed_bytes, std::uint16_t type) const {
  const std::string_view bytes = attribute(fixed_bytes, type);
  std::uint32_t number = 0;
  if (bytes.size() >= sizeof number) std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

std::uint32_t NetlinkAnswer::address(std::size_t fixed_bytes, std::uint16_t type) const {
  return ntohl(number(fixed_bytes, type));
}

Result<RouteSocket> RouteSocket::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket.valid()) return Errno::last();
  return RouteSocket(std::move(socket));
}

Status run_in_network(int namespace_fd, const std::function<void()>& what) {
  const UniqueFd own(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own.valid() || ::setns(namespace_fd, CLONE_NEWNET) != 0) return Errno::last();
  what();
  // Staying in the container's network would turn all that follows against it.
  VARVE_CHECK(::setns(own.get(), CLONE_NEWNET) == 0);
  return {};
}

Result<RouteSocket> RouteSocket::open_in(int namespace_fd) {
  Result<RouteSocket> socket = Errno{EIO};
  VARVE_RETURN_IF_ERROR(run_in_network(namespace_fd, [&] { socket = open(); }));
  return socket;
}

Status RouteSocket::exchange(NetlinkMessage message, const OnAnswer& on_answer) {
  const std::string& request = message.finish(++sequence_, !message.is_dump());
  if (::send(socket_.get(), request.data(), request.size(), 0) < 0) return Errno::last();
  // Aligned for nlmsghdr by the allocator.
  std::vector<char> bytes(kReceiveBytes);
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    auto left = static_cast<std::uint32_t>(got);
    for (auto* one = reinterpret_cast<struct nlmsghdr*>(bytes.data()); NLMSG_OK(one, left);
         one = NLMSG_NEXT(one, left)) {
      if (one->nlmsg_seq != sequence_) continue;
      if (one->nlmsg_type == NLMSG_DONE) return {};
      if (one->nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr error = {};
        if (!NetlinkAnswer(one).read(error)) return Errno{EBADMSG};
        if (error.error == 0) return {};
        return Errno{-error.error};
      }
      if (on_answer) on_answer(NetlinkAnswer(one));
    }
  }
}

}  // namespace varve::launcher
