#pragma once

// pasta: the program of the package passt that gives a network namespace the host's connections, run for one container.
// What is known of it: pasta(1). Thread rule: one thread; a process that does nothing else (it becomes a subreaper).

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/network/network_plan.h"

namespace varve::launcher {

struct PastaNamespaces {
  int network_fd = -1;  // borrowed
  int user_fd = -1;     // that owns the network namespace; -1: it is the launcher's own
};

// The words to start it with. It goes into the background once the network is up. `as_root`: it stays root, which it
// otherwise gives up before it has entered the namespaces of root's containers.
std::vector<std::string> pasta_arguments(const NetworkPlan& plan, const PastaNamespaces& namespaces,
                                         bool as_root);

// Starts it and returns when the container's network is up. What it leaves in the background is a child of this process.
// Returns: a Failure with what pasta has said.
StatusOrFailure start_pasta(const NetworkPlan& plan, const PastaNamespaces& namespaces);

}  // namespace varve::launcher
