#pragma once

// What a mount tells of itself, as JSON, and `varvefs --status`, which reads it and shows it to people.
// Thread rule: any thread.

#include <string>

#include "fs/base/result.h"
#include "fs/fuse/status.h"
#include "fs/layer/block_cache.h"
#include "fs/view/union_view.h"

namespace varve::daemon {

// The members are named in docs/union.md. At most 64 KiB: layers that do not fit are left out, and counted.
std::string status_page(const fuse::MountStatus& mount, const view::UnionView& view,
                        const layer::BlockCache& cache);

// Prints the status of the mount at `mount_point`, as JSON or as text.
// Returns: a Failure when it is no mount of varvefs, or not one that this user may ask.
StatusOrFailure show_status(const std::string& mount_point, bool json);

}  // namespace varve::daemon
