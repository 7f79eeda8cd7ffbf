#include "launcher/options/network_options.h"

#include <CLI/CLI.hpp>

#include "launcher/options/repeated.h"

namespace varve::launcher {
void declare_network_options(CLI::App& app, NetworkOptions& options) {
  app.add_option("--network,--net", options.network,
                 "none: the loopback alone (default); host: the host's own; bridge: an address on varve0, "
                 "outside by NAT (root); pasta: the host's connections without privileges (package passt); "
                 "container:NAME: that of a running container");
  add_repeated(app, "-p,--publish", options.published,
               "[IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp], ports or ranges FIRST-LAST: lead a port of the host "
               "to the container");
  app.add_flag("-P,--publish-all", options.publish_all, "Publish the image's exposed ports on free ones");
  app.add_option("--ip", options.address, "The container's address on the bridge (default: a free one)");
  add_repeated(app, "--dns", options.dns, "Name server in place of the host's");
  add_repeated(app, "--dns-search", options.dns_search, "Search domain in place of the host's; . for none");
  add_repeated(app, "--dns-option", options.dns_options, "Option of resolv.conf(5) in place of the host's");
  add_repeated(app, "--add-host", options.added_hosts,
               "NAME:IP or NAME:host-gateway: a line of the container's /etc/hosts");
  app.add_flag("--no-hosts", options.no_hosts, "Leave the image's /etc/hosts as it is");
}

}  // namespace varve::launcher
