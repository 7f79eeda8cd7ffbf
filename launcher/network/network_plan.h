#pragma once

// NetworkPlan: what network a container gets, decided and checked before anything is made. A plain value.
// Thread rule: stateless.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/store/container_state.h"
#include "launcher/environment.h"
#include "launcher/network/ipv4.h"
#include "launcher/network/name_files.h"
#include "launcher/network/port_mapping.h"
#include "launcher/options/network_options.h"

namespace varve::launcher {

enum class NetworkMode : std::uint8_t {
  kNone,    // a namespace of its own with the loopback
  kHost,    // the host's namespace
  kBridge,  // a veth pair on the host's bridge varve0
  kPasta,   // pasta(1) carries its connections on the host's sockets
  kJoined,  // the namespace of another container
};

// The network of another container.
struct JoinedNetwork {
  std::string container;  // its name
  std::string hostname;   // its host name, when it is not that of the joining one
  image::ContainerNetworkState state;
};

struct NetworkPlan {
  NetworkMode mode = NetworkMode::kNone;
  std::vector<PublishedPort> ports;
  std::optional<Ipv4Address> address;  // --ip; else a free one
  std::string pasta_path;              // with kPasta
  bool forward_dns = false;            // with kPasta: pasta carries questions to the host's own resolver
  bool write_hosts = true;             // /etc/hosts is ours
  std::vector<HostEntry> added_hosts;
  std::optional<std::string> resolv_conf;  // text of /etc/resolv.conf; without one the image's stays
  std::vector<std::string> warnings;       // for the person, when the container starts
  std::optional<JoinedNetwork> joined;     // with kJoined

  // What is made outside the container for it, and must be known to `varve ps` when the launcher is killed.
  bool is_connected() const { return mode == NetworkMode::kBridge || mode == NetworkMode::kPasta; }
};

// The address at which pasta answers DNS for the host's resolver: of the link-local range, so never one of the host's
// neighbours by accident.
constexpr const char* kForwardedDns = "169.254.1.1";

// "none", "host", "bridge", "pasta", "container:NAME"
std::string mode_text(const NetworkPlan& plan);

struct NetworkFacts {
  uid_t effective_uid = 0;
  bool shares_namespace = false;           // --share net
  std::optional<JoinedNetwork> joined;     // --network container:NAME, of one that has its own
  std::vector<std::string> exposed_ports;  // of the image
  HostVariable variable = host_variable;   // for PATH
  std::string host_resolv_conf;            // text of the host's /etc/resolv.conf; empty when there is none
  std::string uplink_resolv_conf;          // that of systemd-resolved with the servers behind it; as above
};
// Reads the two files of this host.
void read_resolver_files(NetworkFacts& facts);

// Returns: a Failure that names the option and what to do.
ResultOrFailure<NetworkPlan> plan_network(const NetworkOptions& options, const NetworkFacts& facts);

// For --dry-run, one line for each thing.
std::string to_text(const NetworkPlan& plan);

}  // namespace varve::launcher
