#pragma once

// Where libfuse's replies go: to the ring entry that the thread answers, or to the device that it read the request from.
// Private to fs/fuse. Thread rule: any thread; each has its own entry.

#include <cstddef>
#include <span>

#include "fs/fuse/libfuse.h"
#include "fs/fuse/ring_entry.h"

namespace varve::fuse {

// Before INIT is given to libfuse, which changes nothing else for it (libfuse 3.14: fuse_session_custom_io).
// Returns: false when this libfuse does not allow it.
bool route_replies(struct fuse_session* session);

// While it lives, answers by this thread to the entry's request go into the entry.
class Answering {
 public:
  explicit Answering(RingEntry& entry);
  ~Answering();
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
};

// Memory in which the answer to the request at hand can be put together without being copied once more; empty: there is none.
std::span<std::byte> answer_space();

}  // namespace varve::fuse
