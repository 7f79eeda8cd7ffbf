#pragma once

// dev_nodes: the container's /dev, its terminals, shared memory and message queues (OCI runtime-spec config-linux.md,
// "Default Devices" and "Default Filesystems"). In a user namespace mknod(2) makes no devices, so the host's own nodes
// are bound, each checked by its device number: a /dev/null that is something else must never serve as a mask.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

struct HostNode {
  std::string name;  // "null"
  UniqueFd mount;    // a copy of the host's node, not yet attached
};

// Copies of the host's null, zero, full, random, urandom and tty. To be taken while the host's /dev is still in sight.
ResultOrFailure<std::vector<HostNode>> copy_host_nodes();

struct DevOptions {
  bool own_ipc = true;        // shared memory and message queues that are not the host's
  bool map_tty_group = true;  // group 5 (tty) exists in the user namespace, so terminals can belong to it
  std::uint64_t shm_bytes = 64 << 20;  // of own shared memory; 0: no limit
  int joined_shm_fd =
      -1;  // another container's shared memory, a mount not yet attached, in place of an own one; borrowed
};

struct DevDirectory {
  UniqueFd directory;  // the mounted /dev
  UniqueFd terminals;  // the mounted /dev/pts
  UniqueFd null;       // the host's null node: what files are masked with
};

// Mounts a fresh /dev below `root_fd` and fills it.
ResultOrFailure<DevDirectory> make_dev(int root_fd, std::vector<HostNode> nodes, const DevOptions& options);

}  // namespace varve::launcher
