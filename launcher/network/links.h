#pragma once

// links: what the launcher asks of rtnetlink(7): bridges, veth pairs, addresses, routes. Each call acts on the network
// namespace of the socket. Thread rule: one thread for each socket.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/ipv4.h"
#include "launcher/network/netlink.h"

namespace varve::launcher {

using MacAddress = std::array<char, 6>;
// A locally administered one that belongs to the address: with it a neighbour that remembers the last owner of the
// address is still right.
MacAddress mac_of(Ipv4Address address);

struct Link {
  unsigned index = 0;
  unsigned master_index = 0;  // the bridge it is a port of; 0: none
  unsigned mtu = 0;           // bytes
  std::string name;
  std::string alias;
};

// Returns: ENODEV when there is none.
Result<Link> find_link(RouteSocket& socket, const std::string& name);
Result<std::vector<Link>> list_links(RouteSocket& socket);

// Returns: EEXIST when the name is taken.
Status add_bridge(RouteSocket& socket, const std::string& name, MacAddress mac);

struct VethSpec {
  std::string name;
  unsigned bridge_index = 0;
  unsigned mtu = 0;
  std::string peer_name;
  MacAddress peer_mac = {};
  int peer_namespace_fd = -1;  // borrowed
};
// Makes both ends, the peer at once in its namespace. Returns: EEXIST when the name is taken.
Status add_veth(RouteSocket& socket, const VethSpec& spec);

Status set_link_up(RouteSocket& socket, unsigned index);
// The alias is seen in `ip link`. At most 255 bytes.
Status set_link_alias(RouteSocket& socket, unsigned index, const std::string& alias);
Status delete_link(RouteSocket& socket, unsigned index);

// `network.base` is the address, its prefix the net that is reached directly.
Status add_address(RouteSocket& socket, unsigned index, const Ipv4Network& network);
// The first IPv4 address of the link with its prefix. Returns: EADDRNOTAVAIL when it has none.
Result<Ipv4Network> address_of(RouteSocket& socket, unsigned index);

Status add_default_route(RouteSocket& socket, Ipv4Address gateway);

struct Route {
  Ipv4Network destination;  // prefix 0: a default route
  unsigned link_index = 0;
};
// The IPv4 routes of all tables but `local`.
Result<std::vector<Route>> list_routes(RouteSocket& socket);

}  // namespace varve::launcher
