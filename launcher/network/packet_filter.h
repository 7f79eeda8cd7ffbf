#pragma once

// PacketFilter: the rules of nftables for one container on the bridge: its way out by masquerade, and published ports for
// those who come from other hosts. They lie in a table of their own that belongs to a socket of this object (the owner
// flag of nft(8)), so that the kernel removes them when the process that holds it is gone, however it ended.
// Thread rule: one thread.

#include <nftables/libnftables.h>

#include <memory>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/ipv4.h"
#include "launcher/network/port_mapping.h"

namespace varve::launcher {

// "varve_ID"
std::string filter_table_name(const std::string& container_id);
// The commands for nft(8) that make the table.
std::string filter_rules(const std::string& container_id, Ipv4Address container,
                         const std::vector<PublishedPort>& ports);

class PacketFilter {
 public:
  // libnftables is loaded when it is needed and not before: with what it needs it costs a start of the launcher more than
  // all the rest of its libraries. Returns: a Failure that names the package when it is not installed, or what the
  // kernel does not take. Requires: CAP_NET_ADMIN.
  static ResultOrFailure<PacketFilter> apply(const std::string& rules);

 private:
  using FreeContext = void (*)(struct nft_ctx*);
  explicit PacketFilter(std::unique_ptr<struct nft_ctx, FreeContext> context)
      : context_(std::move(context)) {}
  std::unique_ptr<struct nft_ctx, FreeContext> context_;
};

}  // namespace varve::launcher
