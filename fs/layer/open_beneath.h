#pragma once

// open_beneath: opens a path below a directory without following any symbolic link. Stateless; any thread.

#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::layer {

// `path`: relative, without "..", of any length (longer than PATH_MAX too); "." for `root` itself. O_CLOEXEC and
// O_NOFOLLOW are added to `flags`. O_NOATIME is dropped where it is not permitted.
// Source: openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS; kernels before 5.6 guard the last component only.
Result<UniqueFd> open_beneath(int root, const std::string& path, int flags);

}  // namespace varve::layer
