#pragma once

// root_filesystem: the container's root: taken from a directory or mounted as a FUSE file system, put in place, and
// entered. Nothing here is seen by the host: all happens in the container's own mount namespace.
// Thread rule: one thread; acts on the mount namespace of the calling process.

#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

// What is mounted or unmounted here from now on stays here: mount propagation becomes private for the whole tree.
StatusOrFailure make_propagation_private();

// A copy of `directory` with all that is mounted below it, not yet attached.
ResultOrFailure<UniqueFd> directory_as_root(const std::string& directory);

struct FuseRoot {
  UniqueFd device;  // /dev/fuse, for the daemon; the mount answers once one reads from it
  UniqueFd mount;   // not yet attached
};
// Mounts a FUSE file system for a daemon that is started afterwards. The device is opened here and not by the launcher,
// because the kernel wants it opened in the user namespace that the mount belongs to (fuse_fill_super, fs/fuse/inode.c).
ResultOrFailure<FuseRoot> fuse_as_root(bool read_only);

// Attaches `mount` on top of the host's root directory, where it waits for enter_root. Paths of the host keep working.
StatusOrFailure attach_root(const UniqueFd& mount);

// Makes the attached `mount` the root directory of the mount namespace, and lets go of the host's tree: pivot_root(2), or
// chroot(2) where the host's root is an initramfs, which cannot be pivoted away from.
StatusOrFailure enter_root(const UniqueFd& mount);

// For a shared mount namespace: chroot(2) alone.
StatusOrFailure change_root(const std::string& directory);

}  // namespace varve::launcher
