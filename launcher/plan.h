#pragma once

// Plan: everything that will be done to run one container, decided before anything is done: a plain value that can be
// printed (`varve run --dry-run`) and tested. execute.h carries it out and decides nothing.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "launcher/capabilities.h"
#include "launcher/cgroup/limit_plan.h"
#include "launcher/environment.h"
#include "launcher/idmap.h"
#include "launcher/image_root.h"
#include "launcher/join_plan.h"
#include "launcher/lifetime_plan.h"
#include "launcher/masked_paths.h"
#include "launcher/mount_plan.h"
#include "launcher/namespaces.h"
#include "launcher/network/network_plan.h"
#include "launcher/run_options.h"
#include "launcher/seccomp/seccomp_plan.h"

namespace varve::launcher {

// The program in the container. Names and paths are those of the container.
struct ProcessPlan {
  std::vector<std::string> arguments;  // at least one
  Environment environment;
  std::string working_directory = "/";
  std::string user;                 // USER[:GROUP], names or numbers; empty: root
  CapabilitySet capabilities;       // root's, and the bounding set of all
  CapabilitySet user_capabilities;  // what a user other than root has: those that were asked for by name
  bool no_new_privileges = true;
  SeccompPlan seccomp;
  std::vector<ResourceLimit> limits;
  mode_t umask = 022;
  bool interactive = false;  // the launcher's stdin is passed on; else /dev/null
  bool terminal = false;     // a pseudo terminal of the container's own
  bool init = true;          // our init is process 1 and the command its child
};

struct Plan {
  std::string name;
  std::string id;               // 64 hexadecimal digits
  std::string hostname;         // empty: the host's (shared uts namespace)
  NamespaceSet own_namespaces;  // made for it
  JoinPlan joined;              // those of another container
  IdMap id_map;                 // of its own or joined user namespace; empty: the host's
  std::string id_note;          // as IdChoice::note
  RootPlan root;
  MountPlan mounts;
  std::string image_name;  // as in image::ContainerState
  std::string image_digest;
  ProcessPlan process;
  MaskedPaths masked_paths;
  std::vector<Sysctl> sysctls;
  LimitPlan limits;
  std::string store_directory;
  bool recorded = true;  // a record lies in the store's containers
  bool remove_afterwards = false;
  std::string daemon_path;  // varvefs; empty when the root is a directory
  LifetimePlan lifetime;
  bool daemon_in_user_namespace = false;  // see DaemonSurroundings::own_user_namespace
  NetworkPlan network;

  // Its first process waits until the launcher has done what is done from outside, before it hides (PR_SET_DUMPABLE, prctl(2)).
  bool waits_for_go() const { return own_namespaces.contains(Namespace::kUser) || network.is_connected(); }
  // All that are not the host's.
  NamespaceSet namespaces() const { return own_namespaces.with(joined.namespaces); }
};

// What of the host a plan depends on; a parameter so that tests need not change it.
struct HostFacts {
  uid_t effective_uid = 0;
  HostVariable variable = host_variable;
  CgroupHost cgroups;
  std::string program_directory;  // where the launcher's own binary lies
};
ResultOrFailure<HostFacts> facts_of_this_host();

// Looks up the image, combines its configuration with the options and checks what can be checked without doing anything.
ResultOrFailure<Plan> make_plan(const RunOptions& options, const HostFacts& host);

// For people, one line for each thing.
std::string to_text(const Plan& plan);

}  // namespace varve::launcher
