#pragma once

// etc_files: /etc/hosts, /etc/hostname and /etc/resolv.conf of the container, bound over what the image has of these
// names: a file, or a symbolic link whatever it leads to (it is covered itself, not followed). The image is not
// written to; a file that it lacks but the container must have is made empty in its writable side, to be bound over, and
// where that is read-only /etc as a whole is covered by a union of it and the missing ones.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/network/container_network.h"
#include "launcher/network/network_plan.h"

namespace varve::launcher {

struct EtcFile {
  std::string name;  // in /etc
  std::string text;
  bool required = false;  // else only where the image has one
};

// `hostname` empty: the host's name is shared, and the image's files with it, as far as the network needs none.
std::vector<EtcFile> choose_etc_files(const std::string& hostname, const NetworkPlan& network,
                                      const NetworkConnection& connection);

// Requires: the container's root and /dev are attached (`dev_fd`), the host's tree is not left yet.
// Returns: what nobody needs any more, to be closed when nothing waits: a mount that goes takes a grace period of the kernel.
ResultOrFailure<UniqueFd> bind_etc_files(int root_fd, int dev_fd, const std::vector<EtcFile>& files);

}  // namespace varve::launcher
