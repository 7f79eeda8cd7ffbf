#pragma once

// NetworkKeeper: the process that holds what a container's network needs on the host, from before its command runs until
// its first process is gone: packet filter rules and relayed ports, or pasta. It watches that process itself, so that it
// ends in the same way when the launcher is killed.
// Thread rule: one thread. Owned by the launcher's execute(); the process is not killed when the object is destroyed.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/network/bridge.h"
#include "launcher/network/network_plan.h"
#include "launcher/network/port_relay.h"

namespace varve::launcher {

struct KeeperTask {
  const NetworkPlan& plan;
  std::string container_id;
  int container_fd = -1;  // pidfd of the container's first process; borrowed
  UniqueFd network_namespace;
  UniqueFd user_namespace;                     // with pasta, where the container has its own
  std::optional<BridgeAttachment> attachment;  // with the bridge
  std::vector<BoundPort> ports;                // with the bridge
};

class NetworkKeeper {
 public:
  static ResultOrFailure<NetworkKeeper> start(KeeperTask task);

  // Readable when there is a message.
  int channel_fd() const { return channel_.fd(); }

  struct News {
    enum class Kind { kReady, kWarning, kFailed, kEnd } kind = Kind::kEnd;
    std::string text;  // of a warning or failure
  };
  // Waits for a message. After kFailed and kEnd there is none, and channel_fd() is -1.
  News receive();

 private:
  explicit NetworkKeeper(ControlChannel channel) : channel_(std::move(channel)) {}
  ControlChannel channel_;
};

}  // namespace varve::launcher
