#pragma once

// etc_files: /etc/hosts, /etc/hostname and /etc/resolv.conf of the container, bound over the files that the image has.
// The image itself is not written to; what the image does not have is not added.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <string>

#include "fs/base/result.h"

namespace varve::launcher {

struct EtcOptions {
  std::string hostname;       // empty: the host's name is shared, so hosts and hostname stay the image's
  bool host_network = false;  // the network is the host's, and with it the name servers
};

// Requires: the container's root and /dev are attached (`dev_fd`), the host's tree is not left yet.
StatusOrFailure bind_etc_files(int root_fd, int dev_fd, const EtcOptions& options);

// What /etc/hosts says for a container of this name.
std::string hosts_text(const std::string& hostname);

}  // namespace varve::launcher
