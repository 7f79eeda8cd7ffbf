#pragma once

// NetworkOptions: what was typed of the container's network. A plain value.

#include <string>
#include <vector>

namespace varve::launcher {

class OptionList;

struct NetworkOptions {
  std::string network;                   // --network; empty: not given
  std::vector<std::string> published;    // -p
  bool publish_all = false;              // -P
  std::vector<std::string> dns;          // --dns
  std::vector<std::string> dns_search;   // --dns-search
  std::vector<std::string> dns_options;  // --dns-option
  std::vector<std::string> added_hosts;  // --add-host
  bool no_hosts = false;                 // --no-hosts
  std::string address;                   // --ip
};

// Declares them on `app`; parsing fills `options`.
void declare_network_options(OptionList& list, NetworkOptions& options);

}  // namespace varve::launcher
