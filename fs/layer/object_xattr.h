#pragma once

// Extended attributes of an object held by any descriptor, O_PATH ones included, of a symbolic link as well.
// Stateless; any thread. They go through /proc/self/fd, because fgetxattr(2) refuses O_PATH descriptors.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::layer {

// Returns: ENODATA also where the file system has no xattrs.
Result<std::string> object_xattr(int fd, const std::string& name);
// Every name that the kernel shows; none where the file system has no xattrs.
Result<std::vector<std::string>> object_xattr_names(int fd);

}  // namespace varve::layer
