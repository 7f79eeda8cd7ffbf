#include <gtest/gtest.h>

#include <algorithm>

#include "launcher/network/bridge.h"
#include "launcher/network/container_network.h"
#include "launcher/network/name_files.h"
#include "launcher/network/network_plan.h"
#include "launcher/network/packet_filter.h"
#include "launcher/network/pasta.h"
#include "launcher/network/port_mapping.h"

namespace varve::launcher {
namespace {

std::string ports_text(const ResultOrFailure<std::vector<PublishedPort>>& ports) {
  if (!ports.ok()) return "refused: " + ports.error().message;
  std::string text;
  for (const PublishedPort& port : *ports) text += (text.empty() ? "" : " ") + to_text(port);
  return text;
}

bool is_refused(const std::string& text) {
  return !parse_published_port(text).ok();
}

Ipv4Address address(const std::string& text) {
  return Ipv4Address::parse(text).value_or(Ipv4Address{});
}

NetworkFacts facts_of_root() {
  NetworkFacts facts;
  facts.variable = [](const std::string&) { return std::optional<std::string>("/nowhere"); };
  facts.host_resolv_conf = "nameserver 192.0.2.53\nsearch example.org\n";
  return facts;
}

TEST(Ipv4, ParsesFourPartsAlone) {
  EXPECT_EQ(address("10.1.2.3").value, 0x0a010203U);
  EXPECT_EQ(address("10.1.2.3").text(), "10.1.2.3");
  EXPECT_FALSE(Ipv4Address::parse("10.1.2").has_value());
  EXPECT_FALSE(Ipv4Address::parse("10.1.2.256").has_value());
  EXPECT_FALSE(Ipv4Address::parse("").has_value());
}

TEST(Ipv4, NetworksOverlapWhenOneHoldsTheOther) {
  const Ipv4Network wide{address("10.0.0.0"), 8};
  const Ipv4Network narrow{address("10.201.0.1"), 16};
  EXPECT_TRUE(wide.overlaps(narrow));
  EXPECT_TRUE(narrow.overlaps(wide));
  EXPECT_FALSE(narrow.overlaps({address("10.202.0.0"), 16}));
  EXPECT_EQ(narrow.text(), "10.201.0.0/16");
  EXPECT_EQ(narrow.size(), 65536U);
}

TEST(PublishedPort, HasAllTheForms) {
  EXPECT_EQ(ports_text(parse_published_port("80")), "0.0.0.0:a free port->80/tcp");
  EXPECT_EQ(ports_text(parse_published_port("8080:80")), "0.0.0.0:8080->80/tcp");
  EXPECT_EQ(ports_text(parse_published_port("127.0.0.1:8080:80/udp")), "127.0.0.1:8080->80/udp");
  EXPECT_EQ(ports_text(parse_published_port("127.0.0.1::80")), "127.0.0.1:a free port->80/tcp");
  EXPECT_EQ(ports_text(parse_published_port("8080-8081:80-81")), "0.0.0.0:8080->80/tcp 0.0.0.0:8081->81/tcp");
  EXPECT_EQ(ports_text(parse_published_port("53-54/udp")),
            "0.0.0.0:a free port->53/udp 0.0.0.0:a free port->54/udp");
}

TEST(PublishedPort, RefusesWhatIsNone) {
  for (const char* text :
       {"", "0", "65536", "80/sctp", "80/", ":80", "8080:", "a:80", "1.2.3:8080:80", "1.2.3.4:5:6:7", "80-79",
        "80-", "8080-8082:80-81", "8080-8081:80", "[::1]:80:80", "-80", "+80", " 80"}) {
    EXPECT_TRUE(is_refused(text)) << text;
  }
}

TEST(PublishedPort, RefusalQuotesTheWordAndTellsTheForm) {
  const auto refused = parse_published_port("80/sctp");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "reading --publish: 80/sctp: the protocol is neither tcp nor udp (write "
            "[IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp])");
}

TEST(PublishedPort, ExposedPortsAreTheImagesAlone) {
  EXPECT_EQ(ports_text(parse_exposed_port("80/tcp")), "0.0.0.0:a free port->80/tcp");
  EXPECT_EQ(ports_text(parse_exposed_port("53/udp")), "0.0.0.0:a free port->53/udp");
  EXPECT_FALSE(parse_exposed_port("8080:80/tcp").ok());
  EXPECT_FALSE(parse_exposed_port("http").ok());
}

TEST(PublishedPort, OnePortOfTheHostIsGivenOnce) {
  const PublishedPort every{{}, 8080, 80, Protocol::kTcp};
  const PublishedPort local{address("127.0.0.1"), 8080, 81, Protocol::kTcp};
  const PublishedPort udp{{}, 8080, 80, Protocol::kUdp};
  const PublishedPort other{address("192.0.2.1"), 8080, 81, Protocol::kTcp};
  const PublishedPort free{{}, 0, 80, Protocol::kTcp};
  EXPECT_FALSE(check_published_ports({every, local}).ok());
  EXPECT_FALSE(check_published_ports({every, every}).ok());
  EXPECT_TRUE(check_published_ports({every, udp}).ok());
  EXPECT_TRUE(check_published_ports({local, other}).ok());
  EXPECT_TRUE(check_published_ports({free, free}).ok());
  EXPECT_FALSE(check_published_ports(std::vector<PublishedPort>(1001, free)).ok());
}

TEST(Bridge, TakesTheFirstNetworkWithoutARoute) {
  const Route default_route{{{}, 0}, 1};
  EXPECT_EQ(choose_bridge_network({default_route})->text(), "10.201.0.0/16");
  EXPECT_EQ(choose_bridge_network({{{address("10.201.7.0"), 24}, 1}})->text(), "10.202.0.0/16");
  EXPECT_EQ(choose_bridge_network({{{address("10.0.0.0"), 8}, 1}})->text(), "172.31.0.0/16");
  EXPECT_FALSE(
      choose_bridge_network({{{address("10.0.0.0"), 8}, 1}, {{address("172.16.0.0"), 12}, 1}}).has_value());
}

TEST(Bridge, AddressesOfContainersAreNeitherNetworkNorHostNorBroadcast) {
  const Ipv4Network network{address("10.201.0.1"), 16};
  EXPECT_FALSE(is_container_offset(network, 0));
  EXPECT_FALSE(is_container_offset(network, 1));
  EXPECT_TRUE(is_container_offset(network, 2));
  EXPECT_TRUE(is_container_offset(network, 65534));
  EXPECT_FALSE(is_container_offset(network, 65535));
  EXPECT_FALSE(is_container_offset({address("10.201.0.9"), 16}, 9)) << "the host has that one";
}

TEST(Bridge, SearchBeginsAtAnOffsetOfTheId) {
  const Ipv4Network network{address("10.201.0.1"), 16};
  EXPECT_EQ(first_offset(network, "0001abcd"), 0xabcdU);
  EXPECT_EQ(first_offset(network, "00000000"), 2U) << "the next that a container may have";
  EXPECT_EQ(first_offset(network, "0000ffff"), 2U);
  EXPECT_EQ(host_link_name(0xabcd), "varve0vabcd");
  EXPECT_LE(host_link_name(0xffffff).size(), 15U) << "IFNAMSIZ with its NUL";
}

TEST(Bridge, MacAddressesFollowTheAddress) {
  EXPECT_EQ(mac_of(address("10.201.0.2")), (MacAddress{2, 'v', 10, char(201), 0, 2}));
}

TEST(PacketFilter, RulesNameThePortsThatComeFromOutside) {
  const std::string rules = filter_rules("abc", address("10.201.0.2"),
                                         {{{}, 8080, 80, Protocol::kTcp},
                                          {address("192.0.2.2"), 53, 5353, Protocol::kUdp},
                                          {address("127.0.0.1"), 9000, 90, Protocol::kTcp}});
  EXPECT_NE(rules.find("table ip varve_abc {\n  flags owner\n"), std::string::npos);
  EXPECT_NE(rules.find("fib daddr type local tcp dport 8080 dnat to 10.201.0.2:80\n"), std::string::npos);
  EXPECT_NE(rules.find("ip daddr 192.0.2.2 udp dport 53 dnat to 10.201.0.2:5353\n"), std::string::npos);
  EXPECT_EQ(rules.find("9000"), std::string::npos) << "the loopback's is the relay's";
  EXPECT_NE(rules.find("ip saddr 10.201.0.2 oifname != \"varve0\" masquerade\n"), std::string::npos);
}

TEST(Hosts, OwnNameLeadsToTheAddress) {
  EXPECT_EQ(hosts_text({.hostname = "box", .address = "10.201.0.2"}),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.201.0.2\tbox\n");
}

TEST(Hosts, OwnNameLeadsToTheLoopbackWithoutAnAddress) {
  EXPECT_EQ(hosts_text({.hostname = "box"}),
            "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback box\n");
}

TEST(Hosts, AddedOnesStandFirst) {
  EXPECT_EQ(hosts_text({.hostname = "", .added = {{"db", "192.0.2.7"}, {"me", ""}}, .gateway = "10.201.0.1"}),
            "192.0.2.7\tdb\n10.201.0.1\tme\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
            "ip6-loopback\n");
}

TEST(Hosts, EntriesAreNameAndAddress) {
  const auto entry = parse_host_entry("db:192.0.2.7");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->name + " " + entry->address, "db 192.0.2.7");
  const auto six = parse_host_entry("db:[2001:db8::1]");
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->address, "2001:db8::1");
  const auto gateway = parse_host_entry("host.containers.internal:host-gateway");
  ASSERT_TRUE(gateway.ok());
  EXPECT_EQ(gateway->address, "");
  for (const char* text : {"db", ":1.2.3.4", "db:", "db:1.2.3", "d b:1.2.3.4", "db:1.2.3.4\n5.6.7.8 x"}) {
    EXPECT_FALSE(parse_host_entry(text).ok()) << text;
  }
}

TEST(Resolver, KeepsTheHostsServersThatCanBeReached) {
  const std::string host =
      "# made by hand\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.53 # near\n"
      "domain old\nsearch a b\noptions edns0\noptions trust-ad\n";
  const ResolverFile own = resolver_file(host, {}, true);
  EXPECT_EQ(own.text, "nameserver 192.0.2.53\nsearch a b\noptions edns0 trust-ad\n");
  EXPECT_TRUE(own.dropped_loopback);
  EXPECT_TRUE(own.has_servers);
  const ResolverFile shared = resolver_file(host, {}, false);
  EXPECT_EQ(shared.text.substr(0, 22), "nameserver 127.0.0.53\n");
}

TEST(Resolver, WhatIsTypedTakesThePlaceOfTheHosts) {
  const ResolverFile file = resolver_file("nameserver 127.0.0.53\nsearch a\noptions b\n",
                                          {{"192.0.2.1", "127.0.0.1"}, {"."}, {"ndots:2"}}, true);
  EXPECT_EQ(file.text, "nameserver 192.0.2.1\nnameserver 127.0.0.1\noptions ndots:2\n");
  EXPECT_FALSE(file.dropped_loopback);
}

TEST(Resolver, RefusesWordsThatWouldBreakTheFile) {
  EXPECT_FALSE(check_resolver_options({{"dns.example"}, {}, {}}).ok());
  EXPECT_FALSE(check_resolver_options({{}, {"a\nnameserver 1.2.3.4"}, {}}).ok());
  EXPECT_FALSE(check_resolver_options({{}, {}, {"x y"}}).ok());
  EXPECT_TRUE(check_resolver_options({{"::1"}, {"example.org"}, {"ndots:1"}}).ok());
}

TEST(NetworkPlan, WithoutAWordTheNetworkIsNone) {
  const auto plan = plan_network({}, facts_of_root());
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->mode, NetworkMode::kNone);
  EXPECT_FALSE(plan->resolv_conf.has_value()) << "the image's stays";
  EXPECT_FALSE(plan->is_connected());
}

TEST(NetworkPlan, SharingTheNamespaceIsTheHostsNetwork) {
  NetworkFacts facts = facts_of_root();
  facts.shares_namespace = true;
  const auto plan = plan_network({}, facts);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->mode, NetworkMode::kHost);
  EXPECT_EQ(plan->resolv_conf, facts.host_resolv_conf);
  EXPECT_FALSE(plan_network({.network = "bridge"}, facts).ok());
}

TEST(NetworkPlan, RefusesWhatDoesNotGoTogether) {
  NetworkFacts user = facts_of_root();
  user.effective_uid = 1000;
  EXPECT_FALSE(plan_network({.network = "macvlan"}, facts_of_root()).ok());
  EXPECT_FALSE(plan_network({.network = "bridge"}, user).ok());
  EXPECT_FALSE(plan_network({.published = {"80"}}, facts_of_root()).ok());
  EXPECT_FALSE(plan_network({.network = "host", .published = {"80"}}, facts_of_root()).ok());
  EXPECT_FALSE(plan_network({.network = "none", .address = "10.201.0.9"}, facts_of_root()).ok());
  EXPECT_FALSE(plan_network({.network = "bridge", .address = "box"}, facts_of_root()).ok());
  EXPECT_FALSE(
      plan_network({.network = "bridge", .added_hosts = {"a:1.2.3.4"}, .no_hosts = true}, facts_of_root())
          .ok());
  EXPECT_FALSE(plan_network({.added_hosts = {"a:host-gateway"}}, facts_of_root()).ok());
}

TEST(NetworkPlan, MissingPastaNamesItsPackage) {
  const auto plan = plan_network({.network = "pasta"}, facts_of_root());
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message.find("install the package passt"), std::string::npos);
}

TEST(NetworkPlan, PublishesTheImagesPortsOnFreeOnes) {
  NetworkFacts facts = facts_of_root();
  facts.exposed_ports = {"80/tcp", "53/udp"};
  const auto plan =
      plan_network({.network = "bridge", .published = {"8443:443"}, .publish_all = true}, facts);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(ports_text(plan->ports),
            "0.0.0.0:8443->443/tcp 0.0.0.0:a free port->80/tcp 0.0.0.0:a free port->53/udp");
}

TEST(NetworkPlan, LoopbackResolversAreReplacedOrExplained) {
  NetworkFacts facts = facts_of_root();
  facts.host_resolv_conf = "nameserver 127.0.0.53\n";
  const auto alone = plan_network({.network = "bridge"}, facts);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(alone->warnings.size(), 1U);
  facts.uplink_resolv_conf = "nameserver 192.0.2.1\n";
  const auto uplink = plan_network({.network = "bridge"}, facts);
  ASSERT_TRUE(uplink.ok());
  EXPECT_EQ(uplink->resolv_conf, "nameserver 192.0.2.1\n");
  EXPECT_TRUE(uplink->warnings.empty());
}

TEST(Pasta, PortsAreItsWords) {
  NetworkPlan plan;
  plan.pasta_path = "/usr/bin/pasta";
  plan.ports = {{{}, 8080, 80, Protocol::kTcp}, {address("127.0.0.1"), 8081, 81, Protocol::kTcp}};
  const std::vector<std::string> words = pasta_arguments(plan, {.network_fd = 5, .user_fd = 6}, false);
  const auto after = [&](const char* word) {
    const auto found = std::find(words.begin(), words.end(), word);
    return found == words.end() || found + 1 == words.end() ? std::string() : *(found + 1);
  };
  EXPECT_EQ(words[0], "/usr/bin/pasta");
  EXPECT_EQ(after("-t"), "8080:80");
  EXPECT_NE(std::find(words.begin(), words.end(), "127.0.0.1/8081:81"), words.end());
  EXPECT_EQ(after("-u"), "none");
  EXPECT_EQ(after("--userns"), "/proc/self/fd/6");
  EXPECT_EQ(after("--netns"), "/proc/self/fd/5");
  EXPECT_EQ(after("--runas"), "");
}

TEST(NetworkConnection, GoesOverTheChannelAsText) {
  const NetworkConnection sent{"10.201.0.2", "10.201.0.1"};
  const NetworkConnection got = NetworkConnection::parse(sent.text());
  EXPECT_EQ(got.address, sent.address);
  EXPECT_EQ(got.gateway, sent.gateway);
  EXPECT_EQ(NetworkConnection::parse("").address, "");
}

}  // namespace
}  // namespace varve::launcher
