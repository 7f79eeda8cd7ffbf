#pragma once

// joining: starts a process in namespaces that exist already, those of a container that runs. A process of its own joins them, since
// that cannot be undone; its child is made a child of the caller (CLONE_PARENT, clone(2)), who so stays outside and is yet the
// parent. Thread rule: the calling process has one thread.

#include <functional>
#include <utility>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/cgroup/container_cgroup.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/namespaces.h"
#include "launcher/outside/supervisor.h"
#include "launcher/process_title.h"

namespace varve::launcher {

struct JoinTarget {
  const char* doing;              // for messages
  int process_fd = -1;            // pidfd of the process whose namespaces are joined, borrowed
  NamespaceSet namespaces;        // which
  NamespaceSet own = {};          // that are made for the new process besides; not cgroup
  const ContainerCgroup& cgroup;  // that it is in
  ArgumentArea area = {};         // of the launcher: what was typed is not for the container to read
  bool shared_memory = false;     // the container's /dev/shm is fetched for the new process
};

struct JoinedProcess {
  SupervisedProcess process;
  UniqueFd network_namespace;  // where it is an own one
};

// What runs in the new process; it never returns.
using JoinedWork = std::function<void(ControlChannel channel, UniqueFd shared_memory)>;

// `work` gets its end of the channel. The launcher's memory, binary and command line are hidden from the
// container all the while: the process does not let itself be looked into (PR_SET_DUMPABLE), and what it is called changes first.
// Takes the second end of `channel`.
ResultOrFailure<JoinedProcess> start_joined(const JoinTarget& target,
                                            std::pair<ControlChannel, ControlChannel>& channel,
                                            const JoinedWork& work);

}  // namespace varve::launcher
