#include "fs/fuse/given_device.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "fs/base/unique_fd.h"

namespace varve::fuse {
namespace {

constexpr std::string_view kPrefix = "/dev/fd/";

// The N of /dev/fd/N when it is a socket of this machine's processes; else -1.
int socket_of(const std::string& mount_point) {
  int fd = -1;
  const char* const end = mount_point.data() + mount_point.size();
  const auto [rest, error] = std::from_chars(mount_point.data() + kPrefix.size(), end, fd);
  if (error != std::errc{} || rest != end) return -1;
  int domain = 0;
  socklen_t size = sizeof domain;
  const bool is_socket = ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
  return is_socket ? fd : -1;
}

// Invalid when the message brought none, or more.
UniqueFd attached_fd(struct msghdr& header) {
  const struct cmsghdr* attached = CMSG_FIRSTHDR(&header);
  if (attached == nullptr || attached->cmsg_level != SOL_SOCKET || attached->cmsg_type != SCM_RIGHTS)
    return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(attached), sizeof fd);
  UniqueFd only(fd);
  if ((header.msg_flags & MSG_CTRUNC) != 0) only.reset();
  return only;
}

// Invalid after the end of what the other side sent.
Result<UniqueFd> receive_fd(int socket) {
  std::array<char, 64> bytes{};
  struct iovec piece = {bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  struct msghdr header = {};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = CMSG_LEN(sizeof(int));  // the padding would hold another one
  ssize_t received = 0;
  do {
    received = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && errno != ECONNRESET) return Errno::last();
  if (received <= 0) return UniqueFd();
  UniqueFd fd = attached_fd(header);
  if (!fd.valid()) return Errno{EBADMSG};
  return fd;
}

}  // namespace

bool is_descriptor(const std::string& mount_point) {
  return mount_point.starts_with(kPrefix);
}

StatusOrFailure await_device(const std::string& mount_point) {
  const int socket = is_descriptor(mount_point) ? socket_of(mount_point) : -1;
  if (socket < 0) return {};
  const Result<UniqueFd> device = receive_fd(socket);
  if (!device.ok())
    return failure_from(device.error(), "mounting: " + mount_point + ": waiting for the device");
  if (!device->valid()) {
    return Failure{ECONNRESET, "mounting: " + mount_point + ": the socket was closed before the device came"};
  }
  if (::dup3(device->get(), socket, O_CLOEXEC) < 0)
    return failure_from(Errno::last(), "mounting: " + mount_point);
  return {};
}

}  // namespace varve::fuse
