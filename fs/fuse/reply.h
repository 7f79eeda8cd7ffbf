#pragma once

// Replies to requests, laid out as the kernel takes them: into the ring entry that the thread answers, or through libfuse to the device
// that it read the request from. Handlers reply with nothing else, but for fuse_reply_none and fuse_reply_data, which are for the
// device. Private to fs/fuse. Thread rule: any thread; each has its own entry.

#include <cstddef>
#include <span>
#include <type_traits>

#include "fs/fuse/libfuse.h"
#include "fs/fuse/ring_entry.h"

namespace varve::fuse {

// While it lives, replies of this thread go into the entry, whose request it answers.
class Answering {
 public:
  explicit Answering(RingEntry& entry);
  ~Answering();
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;
};

// Memory in which the answer to the request at hand can be put together without being copied once more; empty: there is none.
std::span<std::byte> answer_space();

// Each ends the request. Returns: as libfuse's replies, -ENOENT when the caller was interrupted: the kernel has not heard of it.
// `error`: a positive errno; 0 for what is done and has nothing to tell.
int reply_error(fuse_req_t request, int error);
int reply_bytes(fuse_req_t request, std::span<const std::byte> bytes);

// `out`: a structure of the protocol, linux/fuse.h.
template <class Out>
int reply_struct(fuse_req_t request, const Out& out) {
  static_assert(std::is_trivially_copyable_v<Out>);
  return reply_bytes(request, std::as_bytes(std::span(&out, 1)));
}

}  // namespace varve::fuse
