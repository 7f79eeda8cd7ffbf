#include "launcher/inside/loopback.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"

namespace varve::launcher {

StatusOrFailure bring_loopback_up() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct ifreq request = {};
  std::memcpy(request.ifr_name, "lo", sizeof "lo");
  if (!socket.valid() || ::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) {
    return explain(Errno::last(), "bringing the network up", "lo");
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    return explain(Errno::last(), "bringing the network up", "lo");
  }
  return {};
}

}  // namespace varve::launcher
