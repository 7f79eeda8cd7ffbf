#include "launcher/network/links.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>

#include <utility>

namespace varve::launcher {
namespace {

Link link_from(const NetlinkAnswer& answer, const struct ifinfomsg& about) {
  constexpr std::size_t kFixed = sizeof(struct ifinfomsg);
  return {.index = static_cast<unsigned>(about.ifi_index),
          .master_index = answer.number(kFixed, IFLA_MASTER),
          .mtu = answer.number(kFixed, IFLA_MTU),
          .name = answer.text(kFixed, IFLA_IFNAME),
          .alias = answer.text(kFixed, IFLA_IFALIAS)};
}

struct ifinfomsg about_link(unsigned index) {
  struct ifinfomsg about = {};
  about.ifi_family = AF_UNSPEC;
  about.ifi_index = static_cast<int>(index);
  return about;
}

std::string_view bytes_of(const MacAddress& mac) {
  return {mac.data(), mac.size()};
}

}  // namespace

MacAddress mac_of(Ipv4Address address) {
  constexpr char kLocallyAdministered = 0x02;
  const auto byte = [&](unsigned shift) { return static_cast<char>(address.value >> shift); };
  return {kLocallyAdministered, 'v', byte(24), byte(16), byte(8), byte(0)};
}

Result<Link> find_link(RouteSocket& socket, const std::string& name) {
  NetlinkMessage message(RTM_GETLINK, 0);
  message.put(about_link(0)).put_text(IFLA_IFNAME, name);
  Link found;
  const Status asked = socket.exchange(std::move(message), [&](const NetlinkAnswer& answer) {
    struct ifinfomsg about = {};
    if (answer.read(about)) found = link_from(answer, about);
  });
  if (!asked.ok()) return asked.error();
  if (found.index == 0) return Errno{ENODEV};
  return found;
}

Result<std::vector<Link>> list_links(RouteSocket& socket) {
  NetlinkMessage message(RTM_GETLINK, NLM_F_DUMP);
  message.put(about_link(0));
  std::vector<Link> links;
  const Status asked = socket.exchange(std::move(message), [&](const NetlinkAnswer& answer) {
    struct ifinfomsg about = {};
    if (answer.read(about)) links.push_back(link_from(answer, about));
  });
  if (!asked.ok()) return asked.error();
  return links;
}

Status add_bridge(RouteSocket& socket, const std::string& name, MacAddress mac) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.put(about_link(0)).put_text(IFLA_IFNAME, name);
  // An address of its own: otherwise it takes its lowest port's, which changes as ports come and go.
  message.put_attribute(IFLA_ADDRESS, bytes_of(mac));
  const std::size_t info = message.begin_nested(IFLA_LINKINFO);
  message.put_attribute(IFLA_INFO_KIND, "bridge").end_nested(info);
  return socket.exchange(std::move(message));
}

Status add_veth(RouteSocket& socket, const VethSpec& spec) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.put(about_link(0)).put_text(IFLA_IFNAME, spec.name).put_number(IFLA_MTU, spec.mtu);
  message.put_number(IFLA_MASTER, spec.bridge_index);
  const std::size_t info = message.begin_nested(IFLA_LINKINFO);
  message.put_attribute(IFLA_INFO_KIND, "veth");
  const std::size_t data = message.begin_nested(IFLA_INFO_DATA);
  const std::size_t peer = message.begin_nested(VETH_INFO_PEER);
  message.put(about_link(0)).put_text(IFLA_IFNAME, spec.peer_name).put_number(IFLA_MTU, spec.mtu);
  message.put_attribute(IFLA_ADDRESS, bytes_of(spec.peer_mac));
  message.put_number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.peer_namespace_fd));
  message.end_nested(peer).end_nested(data).end_nested(info);
  return socket.exchange(std::move(message));
}

Status set_link_up(RouteSocket& socket, unsigned index) {
  struct ifinfomsg about = about_link(index);
  about.ifi_flags = IFF_UP;
  about.ifi_change = IFF_UP;
  return socket.exchange(std::move(NetlinkMessage(RTM_NEWLINK, 0).put(about)));
}

Status set_link_alias(RouteSocket& socket, unsigned index, const std::string& alias) {
  return socket.exchange(
      std::move(NetlinkMessage(RTM_NEWLINK, 0).put(about_link(index)).put_text(IFLA_IFALIAS, alias)));
}

Status delete_link(RouteSocket& socket, unsigned index) {
  return socket.exchange(std::move(NetlinkMessage(RTM_DELLINK, 0).put(about_link(index))));
}

Status add_address(RouteSocket& socket, unsigned index, const Ipv4Network& network) {
  struct ifaddrmsg about = {};
  about.ifa_family = AF_INET;
  about.ifa_prefixlen = static_cast<unsigned char>(network.prefix);
  about.ifa_index = index;
  const std::uint32_t broadcast = network.at(network.size() - 1).value;
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  message.put(about)
      .put_address(IFA_LOCAL, network.base.value)
      .put_address(IFA_ADDRESS, network.base.value)
      .put_address(IFA_BROADCAST, broadcast);
  return socket.exchange(std::move(message));
}

Result<Ipv4Network> address_of(RouteSocket& socket, unsigned index) {
  struct ifaddrmsg asked_for = {};
  asked_for.ifa_family = AF_INET;
  Ipv4Network found;
  // The kernel answers with those of all links unless strict checking is asked for; so we choose.
  const Status asked = socket.exchange(
      std::move(NetlinkMessage(RTM_GETADDR, NLM_F_DUMP).put(asked_for)), [&](const NetlinkAnswer& answer) {
        struct ifaddrmsg about = {};
        if (!answer.read(about) || about.ifa_index != index || found.prefix != 0) return;
        found = {{answer.address(sizeof about, IFA_LOCAL)}, about.ifa_prefixlen};
      });
  if (!asked.ok()) return asked.error();
  if (found.prefix == 0) return Errno{EADDRNOTAVAIL};
  return found;
}

Status add_default_route(RouteSocket& socket, Ipv4Address gateway) {
  struct rtmsg about = {};
  about.rtm_family = AF_INET;
  about.rtm_table = RT_TABLE_MAIN;
  about.rtm_protocol = RTPROT_STATIC;
  about.rtm_scope = RT_SCOPE_UNIVERSE;
  about.rtm_type = RTN_UNICAST;
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  message.put(about).put_address(RTA_GATEWAY, gateway.value);
  return socket.exchange(std::move(message));
}

Result<std::vector<Route>> list_routes(RouteSocket& socket) {
  struct rtmsg asked_for = {};
  asked_for.rtm_family = AF_INET;
  std::vector<Route> routes;
  const Status asked = socket.exchange(
      std::move(NetlinkMessage(RTM_GETROUTE, NLM_F_DUMP).put(asked_for)), [&](const NetlinkAnswer& answer) {
        struct rtmsg about = {};
        if (!answer.read(about) || about.rtm_family != AF_INET || about.rtm_table == RT_TABLE_LOCAL) return;
        routes.push_back({{{answer.address(sizeof about, RTA_DST)}, about.rtm_dst_len},
                          answer.number(sizeof about, RTA_OIF)});
      });
  if (!asked.ok()) return asked.error();
  return routes;
}

}  // namespace varve::launcher
