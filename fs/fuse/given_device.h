#pragma once

// A mount point of the form /dev/fd/N: the descriptor N that this process was started with. It is an open /dev/fuse that somebody
// else has mounted, or a socket (unix(7)) through which one will come. The second lets a starter have layers and upper opened while
// it is still on its way to the mount.
// Thread rule: await_device is called by one thread, before the mount is served.

#include <string>

#include "fs/base/result.h"

namespace varve::fuse {

bool is_descriptor(const std::string& mount_point);

// When `mount_point` is /dev/fd/N and N a socket: waits for one message with one descriptor in it (SCM_RIGHTS), and puts that
// in the place of the socket, which is closed by this. Anything else it leaves alone.
// Returns: ECONNRESET when the other side closed the socket first, EBADMSG for any other message.
StatusOrFailure await_device(const std::string& mount_point);

}  // namespace varve::fuse
