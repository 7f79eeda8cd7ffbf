#include "launcher/network/network_plan.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "launcher/explain.h"
#include "launcher/options/namespace_options.h"

namespace varve::launcher {
namespace {

struct KnownMode {
  NetworkMode mode;
  const char* word;
};
constexpr std::array<KnownMode, 4> kModes = {{{NetworkMode::kNone, "none"},
                                              {NetworkMode::kHost, "host"},
                                              {NetworkMode::kBridge, "bridge"},
                                              {NetworkMode::kPasta, "pasta"}}};

ResultOrFailure<NetworkMode> choose_mode(const NetworkOptions& options, const NetworkFacts& facts) {
  if (facts.joined) return NetworkMode::kJoined;
  // A container without a network of its own has the host's.
  if (is_container_word(options.network)) return NetworkMode::kHost;
  if (options.network.empty()) return facts.shares_namespace ? NetworkMode::kHost : NetworkMode::kNone;
  const auto* found = std::find_if(kModes.begin(), kModes.end(),
                                   [&](const KnownMode& known) { return options.network == known.word; });
  if (found == kModes.end()) {
    return refuse("reading --network", options.network, "there is no such network",
                  "none, host, bridge, pasta or container:NAME");
  }
  if (facts.shares_namespace && found->mode != NetworkMode::kHost) {
    return refuse("choosing the network", options.network, "--share net keeps the host's",
                  "leave one of the two out");
  }
  if (found->mode == NetworkMode::kBridge && facts.effective_uid != 0) {
    return refuse("choosing the network", "bridge", "an ordinary user makes no interfaces on the host",
                  "--network pasta does without");
  }
  return found->mode;
}

ResultOrFailure<std::string> find_pasta(const NetworkFacts& facts) {
  std::istringstream directories(facts.variable("PATH").value_or("/usr/bin:/bin"));
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = directory + "/pasta";
    if (candidate[0] == '/' && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return refuse("choosing the network", "pasta", "the program is not in PATH",
                "install the package passt, or choose another --network");
}

ResultOrFailure<std::vector<PublishedPort>> choose_ports(const NetworkOptions& options,
                                                         const NetworkFacts& facts, NetworkMode mode) {
  std::vector<PublishedPort> ports;
  for (const std::string& word : options.published) {
    VARVE_ASSIGN(const std::vector<PublishedPort> parsed, parse_published_port(word));
    ports.insert(ports.end(), parsed.begin(), parsed.end());
  }
  if (options.publish_all) {
    for (const std::string& word : facts.exposed_ports) {
      VARVE_ASSIGN(const std::vector<PublishedPort> parsed, parse_exposed_port(word));
      ports.insert(ports.end(), parsed.begin(), parsed.end());
    }
  }
  VARVE_RETURN_IF_ERROR(check_published_ports(ports));
  if (!options.published.empty() || options.publish_all) {
    if (mode == NetworkMode::kHost) {
      return refuse("publishing ports", "-p", "with the host's network every port is the host's already",
                    "leave -p and -P out");
    }
    if (mode == NetworkMode::kJoined) {
      return refuse("publishing ports", "-p",
                    "the network is that of the container " + facts.joined->container,
                    "publish them when that one is started");
    }
    if (mode == NetworkMode::kNone) {
      return refuse("publishing ports", "-p", "the container has no network to lead them to",
                    "add --network bridge or --network pasta");
    }
  }
  return ports;
}

// As the other container has it, but for what was typed.
void choose_joined_resolver(const ResolverOptions& typed, NetworkPlan& plan) {
  const std::string& theirs = plan.joined->state.resolver;
  if (typed.any()) {
    plan.resolv_conf = resolver_file(theirs, typed, /*own_loopback=*/false).text;
  } else if (!theirs.empty()) {
    plan.resolv_conf = theirs;
  }
}

StatusOrFailure choose_resolver(const NetworkOptions& options, const NetworkFacts& facts, NetworkPlan& plan) {
  const ResolverOptions typed{options.dns, options.dns_search, options.dns_options};
  VARVE_RETURN_IF_ERROR(check_resolver_options(typed));
  if (plan.joined) {
    choose_joined_resolver(typed, plan);
    return {};
  }
  if (plan.mode == NetworkMode::kNone && !typed.any()) return {};
  const bool own_loopback = plan.mode != NetworkMode::kHost;
  ResolverFile file = resolver_file(facts.host_resolv_conf, typed, own_loopback);
  if (!file.has_servers && file.dropped_loopback && !facts.uplink_resolv_conf.empty()) {
    file = resolver_file(facts.uplink_resolv_conf, typed, own_loopback);
  }
  if (!file.has_servers && file.dropped_loopback && plan.mode == NetworkMode::kPasta) {
    ResolverOptions forwarded = typed;
    forwarded.servers = {kForwardedDns};
    file = resolver_file(facts.host_resolv_conf, forwarded, own_loopback);
    plan.forward_dns = true;
  }
  if (!file.has_servers && file.dropped_loopback && plan.mode == NetworkMode::kBridge) {
    plan.warnings.emplace_back(
        "connecting the container: the host's name servers listen on its loopback alone, which the container "
        "cannot reach: names will not be resolved (give --dns)");
  }
  // The host's own network with the host's own file, to the letter.
  if (plan.mode == NetworkMode::kHost && !typed.any()) {
    if (!facts.host_resolv_conf.empty()) plan.resolv_conf = facts.host_resolv_conf;
    return {};
  }
  plan.resolv_conf = file.text;
  return {};
}

// What leads to the host in the plan's network, where something does.
bool has_gateway(const NetworkPlan& plan) {
  return plan.mode == NetworkMode::kBridge || (plan.joined && !plan.joined->state.gateway.empty());
}

// The names that the other container knows, and its own.
StatusOrFailure add_joined_hosts(NetworkPlan& plan) {
  for (const std::string& word : plan.joined->state.hosts) {
    VARVE_ASSIGN(HostEntry entry, parse_host_entry(word));
    if (!entry.address.empty() || has_gateway(plan)) plan.added_hosts.push_back(std::move(entry));
  }
  const std::string& address = plan.joined->state.address;
  if (plan.joined->hostname.empty()) return {};
  plan.added_hosts.push_back({plan.joined->hostname, address.empty() ? "127.0.0.1" : address});
  return {};
}

StatusOrFailure choose_hosts(const NetworkOptions& options, NetworkPlan& plan) {
  plan.write_hosts = !options.no_hosts;
  if (options.no_hosts && !options.added_hosts.empty()) {
    return refuse("reading --add-host", options.added_hosts[0], "--no-hosts leaves the image's file alone",
                  "leave one of the two out");
  }
  for (const std::string& word : options.added_hosts) {
    VARVE_ASSIGN(HostEntry entry, parse_host_entry(word));
    if (entry.address.empty() && plan.mode == NetworkMode::kHost) entry.address = "127.0.0.1";
    if (entry.address.empty() && !has_gateway(plan)) {
      return refuse("reading --add-host", word, "the container has no way to the host",
                    "--network bridge or host gives it one");
    }
    plan.added_hosts.push_back(std::move(entry));
  }
  return plan.joined && plan.write_hosts ? add_joined_hosts(plan) : StatusOrFailure();
}

std::string file_text(const char* path) {
  const std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

}  // namespace

std::string mode_text(const NetworkPlan& plan) {
  if (plan.joined) return "container:" + plan.joined->container;
  for (const KnownMode& known : kModes) {
    if (known.mode == plan.mode) return known.word;
  }
  return "";
}

void read_resolver_files(NetworkFacts& facts) {
  facts.host_resolv_conf = file_text("/etc/resolv.conf");
  // systemd-resolved.service(8), "/ETC/RESOLV.CONF".
  facts.uplink_resolv_conf = file_text("/run/systemd/resolve/resolv.conf");
}

ResultOrFailure<NetworkPlan> plan_network(const NetworkOptions& options, const NetworkFacts& facts) {
  NetworkPlan plan;
  VARVE_ASSIGN(plan.mode, choose_mode(options, facts));
  plan.joined = facts.joined;
  VARVE_ASSIGN(plan.ports, choose_ports(options, facts, plan.mode));
  if (!options.address.empty()) {
    plan.address = Ipv4Address::parse(options.address);
    if (!plan.address) return refuse("reading --ip", options.address, "it is no IPv4 address");
    if (plan.mode != NetworkMode::kBridge) {
      return refuse("reading --ip", options.address,
                    "only a container on the bridge has an address to choose", "add --network bridge");
    }
  }
  VARVE_RETURN_IF_ERROR(choose_resolver(options, facts, plan));
  VARVE_RETURN_IF_ERROR(choose_hosts(options, plan));
  if (plan.mode == NetworkMode::kPasta) {
    VARVE_ASSIGN(plan.pasta_path, find_pasta(facts));
  }
  return plan;
}

std::string to_text(const NetworkPlan& plan) {
  std::string text = fmt::format("network:      {}\n", mode_text(plan));
  if (plan.mode == NetworkMode::kPasta) text += fmt::format("  program:    {}\n", plan.pasta_path);
  if (plan.mode == NetworkMode::kBridge) {
    text += fmt::format("  address:    {}\n", plan.address ? plan.address->text() : "a free one of varve0");
  }
  for (const PublishedPort& port : plan.ports) text += fmt::format("  published:  {}\n", to_text(port));
  if (!plan.write_hosts) text += "  hosts:      the image's\n";
  for (const HostEntry& entry : plan.added_hosts) {
    text += fmt::format("  host:       {} {}\n", entry.name,
                        entry.address.empty() ? "(the host)" : entry.address);
  }
  if (plan.resolv_conf) {
    std::istringstream lines(*plan.resolv_conf);
    for (std::string line; std::getline(lines, line);) text += fmt::format("  resolver:   {}\n", line);
  }
  for (const std::string& warning : plan.warnings) text += fmt::format("  warning:    {}\n", warning);
  return text;
}

}  // namespace varve::launcher
