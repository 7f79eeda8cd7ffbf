#pragma once

// bridge: the host's side of `--network bridge`: the bridge varve0, one veth pair for each container, its address.
// Nobody keeps a list of addresses: the kernel does. The host's end of a pair is named by its address, so that making it
// is taking the address, for exactly as long as the container's network namespace lives.
// Thread rule: a process of one thread; several processes at once keep apart by a lock in /run/varve.

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/ipv4.h"
#include "launcher/network/links.h"

namespace varve::launcher {

constexpr const char* kBridgeName = "varve0";

struct BridgeAttachment {
  Ipv4Network address;    // the container's, with the prefix of the bridge's network
  Ipv4Address gateway;    // the host's on the bridge
  std::string host_link;  // the host's end of the veth pair
};

// The first network for the bridge that no route of the host but a default one leads into. Empty when all are taken.
std::optional<Ipv4Network> choose_bridge_network(const std::vector<Route>& routes);

// Where the search for a free address begins: a different place for each container, so that addresses are not used again
// at once. `container_id`: hexadecimal digits. Returns: an offset that a container may have.
std::uint32_t first_offset(const Ipv4Network& network, const std::string& container_id);
// Whether the offset is neither the network, the host, nor the broadcast address.
bool is_container_offset(const Ipv4Network& network, std::uint32_t offset);
std::string host_link_name(std::uint32_t offset);

// Makes the bridge if there is none, and joins to it the network namespace `namespace_fd` (borrowed) as eth0, with
// `wanted` or a free address and a default route. Turns on forwarding of IPv4. Requires: CAP_NET_ADMIN here and there.
ResultOrFailure<BridgeAttachment> attach_to_bridge(int namespace_fd, const std::string& container_id,
                                                   std::optional<Ipv4Address> wanted);

// Takes the container's end off, if it is there still, and the bridge with the last one.
StatusOrFailure detach_from_bridge(const std::string& host_link, const std::string& container_id);

}  // namespace varve::launcher
