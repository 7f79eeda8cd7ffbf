#pragma once

// ContainerNetwork: connects a container to its network from outside, and holds what there is to hold of it.
// Thread rule: one thread. Owned by the launcher's execute().

#include <sys/types.h>

#include <optional>
#include <string>

#include "fs/base/result.h"
#include "imagetool/image/store/container_state.h"
#include "launcher/network/network_keeper.h"
#include "launcher/network/network_plan.h"

namespace varve::launcher {

// What the first process of the container must be told of the network: texts of IPv4 addresses, empty when unknown.
struct NetworkConnection {
  std::string address;
  std::string gateway;  // the host as the container sees it

  std::string text() const { return address + " " + gateway; }
  static NetworkConnection parse(const std::string& text);
};

struct NetworkTarget {
  UniqueFd network_namespace;
  int process_fd = -1;              // pidfd of the container's first process, borrowed
  bool own_user_namespace = false;  // the network namespace belongs to one that is not the host's
  std::string container_id;
};

// Of a process that lets itself be looked into. Requires: `pid` is a child not yet waited for.
ResultOrFailure<UniqueFd> open_network_namespace(pid_t pid);

class ContainerNetwork {
 public:
  // Makes the interfaces, takes the ports, and starts the keeper, which may not be ready yet.
  // Requires: plan.is_connected(); the container waits for its go.
  static ResultOrFailure<ContainerNetwork> connect(const NetworkPlan& plan, NetworkTarget target);

  const NetworkConnection& connection() const { return connection_; }
  const image::ContainerNetworkState& state() const { return state_; }
  NetworkKeeper& keeper() { return keeper_; }
  // What the keeper does at its end, for one that was killed: takes the container's interface away, which the kernel does only some
  // time after the namespace has ended. Requires: the container has ended.
  StatusOrFailure clean_up_after_keeper(const std::string& container_id) const;

 private:
  ContainerNetwork(NetworkConnection connection, image::ContainerNetworkState state, NetworkKeeper keeper)
      : connection_(std::move(connection)), state_(std::move(state)), keeper_(std::move(keeper)) {}
  NetworkConnection connection_;
  image::ContainerNetworkState state_;
  NetworkKeeper keeper_;
};

}  // namespace varve::launcher
