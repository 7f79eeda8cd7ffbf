#pragma once

// How long a request takes to be answered, against waking another thread to take the next one. Private to fs/fuse.
// Thread rule: pure, but for `more_wait`.

#include <cstdint>
#include <functional>

#include "fs/fuse/libfuse.h"

namespace varve::fuse {

enum class RequestLength : std::uint8_t {
  kShort,  // microseconds, in most cases
  kBusy,   // longer, and it keeps a processor busy: a read, which may have to decode
  kLong,   // longer, and it waits for a disk
};

// `more_wait` tells whether more requests are waiting; it is asked only where that makes a difference.
RequestLength length_of(const struct fuse_buf& request, const std::function<bool()>& more_wait);

}  // namespace varve::fuse
