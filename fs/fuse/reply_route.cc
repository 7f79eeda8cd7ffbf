#include "fs/fuse/reply_route.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace varve::fuse {
namespace {

thread_local RingEntry* current_entry = nullptr;

ssize_t write_reply(int device, struct iovec* pieces, int count, void*) {
  const std::span<const struct iovec> all(pieces, static_cast<std::size_t>(count));
  // What is no answer to it: notices to the kernel.
  if (current_entry != nullptr && current_entry->is_answer(all[0])) return current_entry->put_answer(all);
  return ::writev(device, pieces, count);
}
ssize_t read_request(int device, void* memory, std::size_t size, void*) {
  return ::read(device, memory, size);
}
ssize_t splice_as_always(int in, off_t* in_at, int out, off_t* out_at, std::size_t size, unsigned flags,
                         void*) {
  return ::splice(in, in_at, out, out_at, size, flags);
}

}  // namespace

bool route_replies(struct fuse_session* session) {
  const struct fuse_custom_io hooks {
    .writev = write_reply, .read = read_request, .splice_receive = splice_as_always,
    .splice_send = splice_as_always
  };
  return fuse_session_custom_io(session, &hooks, fuse_session_fd(session)) == 0;
}

Answering::Answering(RingEntry& entry) {
  current_entry = &entry;
}

Answering::~Answering() {
  current_entry = nullptr;
}

std::span<std::byte> answer_space() {
  return current_entry != nullptr ? current_entry->answer_space() : std::span<std::byte>();
}

}  // namespace varve::fuse
