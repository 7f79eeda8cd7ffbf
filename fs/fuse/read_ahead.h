#pragma once

// How far the kernel reads ahead in files of one mount: 128 KiB by default, which INIT can only lower; root may raise it in /sys.
// Thread rule: pure calls; neither sends a request to the daemon, so any thread may make them, also one that owes replies.

#include <sys/types.h>

#include <optional>
#include <string>

namespace varve::fuse {

// The device number (st_dev) of what is mounted at `mount_point`; empty when it cannot be had.
std::optional<dev_t> mounted_device(const std::string& mount_point);

// Raises the read-ahead of the mount with this device number; does nothing where that is not allowed. Holds for files opened from
// then on. Requires: INIT has been answered, else the kernel sets it back.
void raise_read_ahead(dev_t device);

}  // namespace varve::fuse
