#pragma once

// name_files: the texts of the container's /etc/hosts and /etc/resolv.conf (hosts(5), resolv.conf(5)).
// Thread rule: stateless.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/ipv4.h"

namespace varve::launcher {

struct HostEntry {
  std::string name;
  std::string address;  // IPv4 or IPv6; empty: the host as the container sees it (host-gateway)
};
// "NAME:IP"; IP may be "host-gateway", and be in brackets when it is IPv6.
ResultOrFailure<HostEntry> parse_host_entry(const std::string& text);

struct HostsFile {
  std::string hostname;          // empty: no line for the container itself
  std::string address = {};      // the container's; empty: its name leads to the loopback
  std::vector<HostEntry> added;  // those without an address take `gateway`
  std::string gateway = {};      // the host's address as the container sees it
};
std::string hosts_text(const HostsFile& file);

struct ResolverOptions {
  std::vector<std::string> servers;  // --dns
  std::vector<std::string> search;   // --dns-search; "." alone: none
  std::vector<std::string> options;  // --dns-option
  bool any() const { return !servers.empty() || !search.empty() || !options.empty(); }
};
// Refuses words that are no addresses, or would break out of their line.
StatusOrFailure check_resolver_options(const ResolverOptions& options);

struct ResolverFile {
  std::string text;
  bool has_servers = false;
  bool dropped_loopback = false;  // name servers of the host that the container cannot reach were left out
};
// The container's resolv.conf: the host's text with the parts that `options` gives in their place. When the container is
// apart from the host's loopback (`own_loopback`), servers there (127.0.0.53 of systemd-resolved) are left out.
ResolverFile resolver_file(const std::string& host_text, const ResolverOptions& options, bool own_loopback);

}  // namespace varve::launcher
