#include "launcher/options/network_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {
void declare_network_options(OptionList& list, NetworkOptions& options) {
  list.add_option("--network,--net", options.network,
                  "none: the loopback alone (default); host: the host's own; bridge: an address on varve0, "
                  "outside by NAT (root); pasta: the host's connections without privileges (package passt); "
                  "container:NAME: that of a running container",
                  {.type = "none|host|bridge|pasta|container:NAME"});
  list.add_repeated(
      "-p,--publish", options.published,
      "[IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp], ports or ranges FIRST-LAST: lead a port of the host "
      "to the container",
      {.type = "[IP:][HOSTPORT:]PORT[/PROTOCOL]"});
  list.add_flag("-P,--publish-all", options.publish_all, "Publish the image's exposed ports on free ones");
  list.add_option("--ip", options.address, "The container's address on the bridge (default: a free one)",
                  {.type = "ADDRESS"});
  list.add_repeated("--dns", options.dns, "Name server in place of the host's", {.type = "ADDRESS"});
  list.add_repeated("--dns-search", options.dns_search, "Search domain in place of the host's; . for none",
                    {.type = "DOMAIN"});
  list.add_repeated("--dns-option", options.dns_options, "Option of resolv.conf(5) in place of the host's",
                    {.type = "OPTION"});
  list.add_repeated("--add-host", options.added_hosts,
                    "NAME:IP or NAME:host-gateway: a line of the container's /etc/hosts",
                    {.type = "NAME:IP"});
  list.add_flag("--no-hosts", options.no_hosts, "Leave the image's /etc/hosts as it is");
}

}  // namespace varve::launcher
