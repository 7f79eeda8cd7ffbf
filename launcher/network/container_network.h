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
  pid_t pid = 0;                    // the container's first process
  int process_fd = -1;              // its pidfd, borrowed
  bool own_user_namespace = false;  // the network namespace belongs to it
  std::string container_id;
};

class ContainerNetwork {
 public:
  // Makes the interfaces, takes the ports, and starts the keeper, which may not be ready yet.
  // Requires: plan.is_connected(); the container waits for its go.
  static ResultOrFailure<ContainerNetwork> connect(const NetworkPlan& plan, const NetworkTarget& target);

  const NetworkConnection& connection() const { return connection_; }
  const image::ContainerNetworkState& state() const { return state_; }
  NetworkKeeper& keeper() { return keeper_; }

 private:
  ContainerNetwork(NetworkConnection connection, image::ContainerNetworkState state, NetworkKeeper keeper)
      : connection_(std::move(connection)), state_(std::move(state)), keeper_(std::move(keeper)) {}
  NetworkConnection connection_;
  image::ContainerNetworkState state_;
  NetworkKeeper keeper_;
};

}  // namespace varve::launcher
