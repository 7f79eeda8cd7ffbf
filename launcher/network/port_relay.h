#pragma once

// port_relay: published ports in user space: what comes to a port of the host is carried to the container and back. It is
// the way of those whom the packet filter does not lead: programs of the host itself (127.0.0.1), other containers,
// and everybody where there is no packet filter. Its sockets also keep the ports from others on the host.
// Thread rule: one thread; one epoll set.

#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/network/ipv4.h"
#include "launcher/network/port_mapping.h"

namespace varve::launcher {

// A socket bound to the host's side; for TCP it listens already, so that nobody is turned away while the container starts.
struct BoundPort {
  PublishedPort port;  // host_port as it was chosen
  UniqueFd socket;
};

// Takes the ports of the host. Where host_port is 0 the kernel chooses. Returns: a Failure that names the port that
// cannot be had and what to do.
ResultOrFailure<std::vector<BoundPort>> bind_ports(const std::vector<PublishedPort>& ports);

// Carries until `end_fd` (borrowed, e.g. a pidfd) is readable. `container`: where the ports lead to. Raises the process's
// limit of descriptors as far as it may. Returns: an errno when it cannot begin.
Status relay_ports(std::vector<BoundPort> ports, Ipv4Address container, int end_fd);

}  // namespace varve::launcher
