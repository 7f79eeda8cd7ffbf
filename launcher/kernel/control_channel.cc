#include "launcher/kernel/control_channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace varve::launcher {
namespace {

constexpr std::size_t kHeaderBytes = 1 + sizeof(std::int32_t);
// Big enough for one descriptor, aligned as cmsg(3) wants it.
struct alignas(cmsghdr) FdBuffer {
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};
// For what comes in: a descriptor and the sender.
struct alignas(cmsghdr) ReceiveBuffer {
  std::array<char, CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))> bytes;
};

void take_attached(struct msghdr& header, ControlMessage& message) {
  for (struct cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
    if (one->cmsg_level != SOL_SOCKET) continue;
    if (one->cmsg_type == SCM_RIGHTS) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one), sizeof fd);
      message.fd.reset(fd);
    } else if (one->cmsg_type == SCM_CREDENTIALS) {
      struct ucred sender = {};
      std::memcpy(&sender, CMSG_DATA(one), sizeof sender);
      message.sender = sender.pid;
    }
  }
}

}  // namespace

Result<std::pair<ControlChannel, ControlChannel>> ControlChannel::make_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return Errno::last();
  std::pair<ControlChannel, ControlChannel> pair{ControlChannel(UniqueFd(ends[0])),
                                                 ControlChannel(UniqueFd(ends[1]))};
  const int on = 1;
  if (::setsockopt(pair.first.fd(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return Errno::last();
  return pair;
}

Status ControlChannel::send(const ControlMessage& message) const {
  std::string bytes(1, static_cast<char>(message.kind));
  bytes.append(reinterpret_cast<const char*>(&message.exit_status), sizeof message.exit_status);
  bytes.append(message.text, 0, ControlMessage::kMaxTextBytes);

  struct iovec piece = {bytes.data(), bytes.size()};
  struct msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  FdBuffer buffer{};
  if (message.fd.valid()) {
    header.msg_control = buffer.bytes.data();
    header.msg_controllen = buffer.bytes.size();
    struct cmsghdr* attached = CMSG_FIRSTHDR(&header);
    attached->cmsg_level = SOL_SOCKET;
    attached->cmsg_type = SCM_RIGHTS;
    attached->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = message.fd.get();
    std::memcpy(CMSG_DATA(attached), &fd, sizeof fd);
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return Errno::last();
  return {};
}

Result<ControlMessage> ControlChannel::receive() const {
  std::array<char, kHeaderBytes + ControlMessage::kMaxTextBytes> bytes{};
  struct iovec piece = {bytes.data(), bytes.size()};
  ReceiveBuffer buffer{};
  struct msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = buffer.bytes.data();
  header.msg_controllen = buffer.bytes.size();
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    // The other side closed its end with messages of ours unread: told once, before what it had sent (net/core/datagram.c,
    // __skb_try_recv_datagram).
  } while (received < 0 && (errno == EINTR || errno == ECONNRESET));
  if (received == 0) return ControlMessage{};
  if (received < 0) return Errno::last();

  ControlMessage message;
  take_attached(header, message);
  const auto size = static_cast<std::size_t>(received);
  if (size < kHeaderBytes || bytes[0] < 0 || bytes[0] > static_cast<char>(ControlMessage::Kind::kFailed)) {
    return Errno{EBADMSG};
  }
  message.kind = static_cast<ControlMessage::Kind>(bytes[0]);
  std::memcpy(&message.exit_status, bytes.data() + 1, sizeof message.exit_status);
  message.text.assign(bytes.data() + kHeaderBytes, size - kHeaderBytes);
  return message;
}

}  // namespace varve::launcher
