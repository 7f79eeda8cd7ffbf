#include "fs/base/write_all.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace varve {

Status write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno == EAGAIN) {
      struct pollfd ready = {fd, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return Errno::last();
    }
  }
  return {};
}

}  // namespace varve
