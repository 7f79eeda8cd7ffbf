#pragma once

// copy_tree: copies what lies in a directory of the image into an empty directory of ours: contents, hard links, owners, modes,
// times and extended attributes. The image is not trusted: nothing but its own directory entries is followed, and special files
// are made anew, never opened. Thread rule: one thread; nobody else changes the two trees.

#include "fs/base/result.h"

namespace varve::launcher {

// Both are descriptors that can be read (no O_PATH); `destination` is an empty directory and gets owner, mode, times and
// attributes of `source` as well. An owner that has no id in this user namespace becomes the caller; extended attributes that
// the destination cannot hold are left out. Returns: ELOOP for a tree deeper than 256 directories, ENOSPC, EPERM for a device
// node in a user namespace, ...
Status copy_tree(int source, int destination);

}  // namespace varve::launcher
