#pragma once

// JoinPlan: namespaces of another container that a new one lives in instead of having its own (--pid container:NAME and so on), and
// what is known of that container. Its user namespace, where it has one, comes with any of them: the kernel lets only root of the
// user namespace that a namespace belongs to mount what shows it (/proc, /sys, message queues). Its cgroup namespace comes along:
// no further one can be made in that user namespace (kernel_settings.h).
// Thread rule: plain values; the look-up is stateless.

#include <string>

#include "fs/base/result.h"
#include "imagetool/image/store/container_state.h"
#include "launcher/idmap.h"
#include "launcher/kernel/process_identity.h"
#include "launcher/namespaces.h"
#include "launcher/options/namespace_options.h"

namespace varve::launcher {

struct JoinPlan {
  std::string container;    // its name; empty: none is joined
  NamespaceSet namespaces;  // that are joined: all that was asked for and is not the host's, user and cgroup
  ProcessIdentity process;  // whose they are: the container's command
  bool shared_memory = false;  // its /dev/shm, which goes with the ipc namespace where it has one of its own
};

// A container that runs, as far as it matters to one that joins it.
struct JoinedContainer {
  std::string name;
  ProcessIdentity process;
  NamespaceSet namespaces;               // all that are not the host's
  IdMap id_map;                          // of its user namespace; empty: the host's
  std::string hostname;                  // empty: the host's
  image::ContainerNetworkState network;  // as recorded
};
// Returns: a Failure, ENOENT when there is none of that name, ESRCH when it does not run.
ResultOrFailure<JoinedContainer> find_joined(const std::string& name, const std::string& store_directory);

// What of it is joined. `shared`: namespaces that are the host's by other options.
// Returns: a Failure when user namespaces contradict each other.
ResultOrFailure<JoinPlan> plan_join(const JoinWords& words, const JoinedContainer& container,
                                    NamespaceSet shared);

}  // namespace varve::launcher
