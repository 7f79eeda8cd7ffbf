#include "launcher/network/bridge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kConnecting = "connecting the container to the bridge";
constexpr const char* kRemoving = "removing the container from the bridge";
constexpr const char* kContainerLink = "eth0";
constexpr unsigned kPrefix = 16;
constexpr unsigned kDefaultMtu = 1500;
constexpr std::uint32_t kHostOffset = 1;

struct Bridge {
  unsigned index = 0;
  Ipv4Network network;  // base: the host's address
};

std::string alias_of(const std::string& container_id) {
  return "varve container " + container_id;
}

// One launcher at a time makes or removes the bridge.
ResultOrFailure<UniqueFd> lock_bridge() {
  constexpr const char* kDirectory = "/run/varve";
  constexpr const char* kLock = "/run/varve/network.lock";
  if (::mkdir(kDirectory, 0755) != 0 && errno != EEXIST) {
    return explain(Errno::last(), kConnecting, kDirectory, "is /run mounted and writable?");
  }
  UniqueFd lock(::open(kLock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.valid()) return explain(Errno::last(), kConnecting, kLock);
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return explain(Errno::last(), kConnecting, kLock);
  }
  return lock;
}

Status write_setting(const std::string& path, const char* value) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), value, 1) != 1) return Errno::last();
  return {};
}

// Without IPv6 addresses of ours nobody needs it here, and a container cannot send router advertisements to the host or
// to its neighbours. A kernel without IPv6 has no such setting.
StatusOrFailure turn_ipv6_off(const char* link) {
  const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", link);
  const Status done = write_setting(path, "1");
  if (!done.ok() && done.error().value != ENOENT) return explain(done.error(), kConnecting, path);
  return {};
}

StatusOrFailure turn_forwarding_on() {
  constexpr const char* kForwarding = "/proc/sys/net/ipv4/ip_forward";
  char now = '0';
  const UniqueFd file(::open(kForwarding, O_RDONLY | O_CLOEXEC));
  if (file.valid() && ::read(file.get(), &now, 1) == 1 && now == '1') return {};
  const Status done = write_setting(kForwarding, "1");
  if (!done.ok()) {
    return explain(done.error(), "letting the host forward packets", kForwarding,
                   "the bridge needs it; or use --network pasta");
  }
  return {};
}

ResultOrFailure<Bridge> make_bridge(RouteSocket& socket) {
  const Result<std::vector<Route>> routes = list_routes(socket);
  if (!routes.ok()) return explain(routes.error(), kConnecting, "reading the host's routes");
  const std::optional<Ipv4Network> network = choose_bridge_network(*routes);
  if (!network) {
    return refuse(kConnecting, kBridgeName,
                  "routes of the host lead into every private network it could have", "use --network pasta");
  }
  const Ipv4Network host{network->at(kHostOffset), network->prefix};
  const Status added = add_bridge(socket, kBridgeName, mac_of(host.base));
  if (!added.ok()) {
    const bool forbidden = added.error().value == EPERM;
    return explain(added.error(), "making the bridge", kBridgeName,
                   forbidden ? "it takes CAP_NET_ADMIN; --network pasta does without" : "");
  }
  const Result<Link> link = find_link(socket, kBridgeName);
  if (!link.ok()) return explain(link.error(), "making the bridge", kBridgeName);
  VARVE_RETURN_IF_ERROR(turn_ipv6_off(kBridgeName));
  const Status addressed = add_address(socket, link->index, host);
  if (!addressed.ok()) return explain(addressed.error(), "giving the bridge its address", host.text());
  return Bridge{link->index, host};
}

ResultOrFailure<Bridge> find_or_make_bridge(RouteSocket& socket) {
  const Result<Link> link = find_link(socket, kBridgeName);
  if (!link.ok() && link.error().value != ENODEV) return explain(link.error(), kConnecting, kBridgeName);
  Bridge bridge;
  if (link.ok()) {
    const Result<Ipv4Network> address = address_of(socket, link->index);
    if (!address.ok() || address->prefix > 30) {
      return refuse(kConnecting, kBridgeName, "an interface of this name has no network for containers",
                    "remove it: ip link delete varve0");
    }
    bridge = {link->index, *address};
  } else {
    VARVE_ASSIGN(bridge, make_bridge(socket));
  }
  const Status up = set_link_up(socket, bridge.index);
  if (!up.ok()) return explain(up.error(), "bringing the bridge up", kBridgeName);
  return bridge;
}

// That of the way out, or large packets would have to be cut on it.
unsigned mtu_of_uplink(RouteSocket& socket) {
  const Result<std::vector<Route>> routes = list_routes(socket);
  const Result<std::vector<Link>> links = list_links(socket);
  if (!routes.ok() || !links.ok()) return kDefaultMtu;
  for (const Route& route : *routes) {
    if (route.destination.prefix != 0) continue;
    for (const Link& link : *links) {
      if (link.index == route.link_index && link.mtu > 0) return link.mtu;
    }
  }
  return kDefaultMtu;
}

// Takes an address by making the pair that is named by it. Returns: its offset.
ResultOrFailure<std::uint32_t> make_veth(RouteSocket& socket, const Bridge& bridge, int namespace_fd,
                                         std::uint32_t offset) {
  const Ipv4Address address = bridge.network.at(offset);
  const Status made = add_veth(socket, {.name = host_link_name(offset),
                                        .bridge_index = bridge.index,
                                        .mtu = mtu_of_uplink(socket),
                                        .peer_name = kContainerLink,
                                        .peer_mac = mac_of(address),
                                        .peer_namespace_fd = namespace_fd});
  if (!made.ok()) return explain(made.error(), "making the container's interface", host_link_name(offset));
  return offset;
}

ResultOrFailure<std::uint32_t> make_wanted_veth(RouteSocket& socket, const Bridge& bridge, int namespace_fd,
                                                Ipv4Address wanted) {
  const std::uint32_t offset = wanted.value - bridge.network.at(0).value;
  if (!bridge.network.contains(wanted) || !is_container_offset(bridge.network, offset)) {
    return refuse(
        "choosing the container's address (--ip)", wanted.text(), "it is none of the bridge's for containers",
        fmt::format("the network is {}, the host has {}", bridge.network.text(), bridge.network.base.text()));
  }
  ResultOrFailure<std::uint32_t> made = make_veth(socket, bridge, namespace_fd, offset);
  if (made.ok() || made.error().error_number != EEXIST) return made;
  return refuse("choosing the container's address (--ip)", wanted.text(), "another container has it",
                "choose another, or leave --ip out for a free one");
}

ResultOrFailure<std::uint32_t> make_any_veth(RouteSocket& socket, const Bridge& bridge, int namespace_fd,
                                             const std::string& container_id) {
  const std::uint32_t first = first_offset(bridge.network, container_id);
  for (std::uint32_t tried = 0; tried < bridge.network.size(); ++tried) {
    const std::uint32_t offset = (first + tried) % bridge.network.size();
    if (!is_container_offset(bridge.network, offset)) continue;
    ResultOrFailure<std::uint32_t> made = make_veth(socket, bridge, namespace_fd, offset);
    if (made.ok() || made.error().error_number != EEXIST) return made;
  }
  return refuse(kConnecting, bridge.network.text(), "every address is taken", "end containers");
}

// The container's side: its namespace is a stranger's only later; now its first process still waits.
StatusOrFailure set_up_container_link(int namespace_fd, const BridgeAttachment& attachment) {
  Result<RouteSocket> socket = RouteSocket::open_in(namespace_fd);
  if (!socket.ok()) return explain(socket.error(), kConnecting, "entering its network namespace");
  const Result<Link> link = find_link(*socket, kContainerLink);
  if (!link.ok()) return explain(link.error(), kConnecting, kContainerLink);
  StatusOrFailure quiet;
  const Status entered = run_in_network(namespace_fd, [&] { quiet = turn_ipv6_off(kContainerLink); });
  if (!entered.ok()) return explain(entered.error(), kConnecting, "entering its network namespace");
  VARVE_RETURN_IF_ERROR(std::move(quiet));
  const Status addressed = add_address(*socket, link->index, attachment.address);
  if (!addressed.ok()) return explain(addressed.error(), kConnecting, attachment.address.base.text());
  const Status up = set_link_up(*socket, link->index);
  if (!up.ok()) return explain(up.error(), kConnecting, kContainerLink);
  const Status routed = add_default_route(*socket, attachment.gateway);
  if (!routed.ok()) return explain(routed.error(), kConnecting, "its default route");
  return {};
}

// The host's end comes up last: then all behind it is ready.
ResultOrFailure<BridgeAttachment> attach(RouteSocket& socket, int namespace_fd,
                                         const std::string& container_id, std::optional<Ipv4Address> wanted) {
  VARVE_ASSIGN(const Bridge bridge, find_or_make_bridge(socket));
  VARVE_RETURN_IF_ERROR(turn_forwarding_on());
  VARVE_ASSIGN(const std::uint32_t offset, wanted
                                               ? make_wanted_veth(socket, bridge, namespace_fd, *wanted)
                                               : make_any_veth(socket, bridge, namespace_fd, container_id));
  BridgeAttachment attachment{.address = {bridge.network.at(offset), bridge.network.prefix},
                              .gateway = bridge.network.base,
                              .host_link = host_link_name(offset)};
  const Result<Link> link = find_link(socket, attachment.host_link);
  if (!link.ok()) return explain(link.error(), kConnecting, attachment.host_link);
  const Status named = set_link_alias(socket, link->index, alias_of(container_id));
  if (!named.ok()) return explain(named.error(), kConnecting, attachment.host_link);
  VARVE_RETURN_IF_ERROR(set_up_container_link(namespace_fd, attachment));
  const Status up = set_link_up(socket, link->index);
  if (!up.ok()) return explain(up.error(), kConnecting, attachment.host_link);
  return attachment;
}

// Requires: the lock is held.
StatusOrFailure remove_idle_bridge(RouteSocket& socket) {
  const Result<Link> bridge = find_link(socket, kBridgeName);
  if (!bridge.ok()) return {};
  const Result<std::vector<Link>> links = list_links(socket);
  if (!links.ok()) return explain(links.error(), kRemoving, kBridgeName);
  const bool is_used = std::any_of(links->begin(), links->end(),
                                   [&](const Link& one) { return one.master_index == bridge->index; });
  if (is_used) return {};
  const Status gone = delete_link(socket, bridge->index);
  if (!gone.ok()) return explain(gone.error(), kRemoving, kBridgeName);
  return {};
}

}  // namespace

std::optional<Ipv4Network> choose_bridge_network(const std::vector<Route>& routes) {
  const auto is_free = [&](const Ipv4Network& network) {
    return std::none_of(routes.begin(), routes.end(), [&](const Route& route) {
      return route.destination.prefix != 0 && route.destination.overlaps(network);
    });
  };
  // 10.0.0.0/8 from a place where few have something, then 172.16.0.0/12 (RFC 1918).
  for (std::uint32_t second = 201; second < 255; ++second) {
    const Ipv4Network network{{10U << 24 | second << 16}, kPrefix};
    if (is_free(network)) return network;
  }
  for (std::uint32_t second = 31; second >= 16; --second) {
    const Ipv4Network network{{172U << 24 | second << 16}, kPrefix};
    if (is_free(network)) return network;
  }
  return std::nullopt;
}

bool is_container_offset(const Ipv4Network& network, std::uint32_t offset) {
  return offset != 0 && offset < network.size() - 1 && network.at(offset) != network.base &&
         offset != kHostOffset;
}

std::uint32_t first_offset(const Ipv4Network& network, const std::string& container_id) {
  std::uint32_t number = 0;
  constexpr std::size_t kDigits = 8;
  std::from_chars(container_id.data(), container_id.data() + std::min(kDigits, container_id.size()), number,
                  16);
  std::uint32_t offset = number % network.size();
  while (!is_container_offset(network, offset)) offset = (offset + 1) % network.size();
  return offset;
}

std::string host_link_name(std::uint32_t offset) {
  return fmt::format("varve0v{:04x}", offset);
}

ResultOrFailure<BridgeAttachment> attach_to_bridge(int namespace_fd, const std::string& container_id,
                                                   std::optional<Ipv4Address> wanted) {
  VARVE_ASSIGN(const UniqueFd lock, lock_bridge());
  Result<RouteSocket> socket = RouteSocket::open();
  if (!socket.ok()) return explain(socket.error(), kConnecting, "rtnetlink");
  ResultOrFailure<BridgeAttachment> attached = attach(*socket, namespace_fd, container_id, wanted);
  // What failed tells more than what this might.
  if (!attached.ok()) [[maybe_unused]]
    const StatusOrFailure removed = remove_idle_bridge(*socket);
  return attached;
}

StatusOrFailure detach_from_bridge(const std::string& host_link, const std::string& container_id) {
  VARVE_ASSIGN(const UniqueFd lock, lock_bridge());
  Result<RouteSocket> socket = RouteSocket::open();
  if (!socket.ok()) return explain(socket.error(), kRemoving, "rtnetlink");
  // Mostly it went with the namespace already, and the name may be another container's by now.
  const Result<Link> link = find_link(*socket, host_link);
  if (link.ok() && link->alias == alias_of(container_id)) {
    [[maybe_unused]] const Status gone = delete_link(*socket, link->index);  // ENODEV: just now
  }
  return remove_idle_bridge(*socket);
}

}  // namespace varve::launcher
