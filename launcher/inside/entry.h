#pragma once

// entry: what the first process of a container does, from the moment clone3(2) made it in its new namespaces until it has
// become the command or its init. The order of the steps matters and is written down there.
// Thread rule: one thread, in a process of its own.

#include "launcher/inside/process.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/plan.h"
#include "launcher/process_title.h"

namespace varve::launcher {

// Never returns: the process becomes the command, or exits as its init. A failure goes to the launcher by `channel`.
// `shared_memory`: the mount of another container's /dev/shm, with JoinPlan::shared_memory.
// Requires: signals are blocked (block_forwarded_signals), standard input is what the command is to read.
[[noreturn]] void run_inside(const Plan& plan, ControlChannel channel, ArgumentArea area,
                             UniqueFd shared_memory = {});

// The same for a command in a container that runs: its namespaces are joined, and `channel` and descriptors 0, 1 and 2 are all
// that it has. The root it finds is the container's and not trusted.
struct JoinOptions {
  bool own_user_namespace = false;  // of the container
  bool setgroups_denied = false;    // in it
};
[[noreturn]] void run_joined(const ProcessPlan& process, const JoinOptions& options, ControlChannel channel);

// Tells the launcher why the container cannot start, and ends the calling process.
[[noreturn]] void report_and_exit(const ControlChannel& channel, const StartFailure& failure);

}  // namespace varve::launcher
