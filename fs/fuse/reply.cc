#include "fs/fuse/reply.h"

namespace varve::fuse {
namespace {

thread_local RingEntry* current_entry = nullptr;

}  // namespace

Answering::Answering(RingEntry& entry) {
  current_entry = &entry;
}

Answering::~Answering() {
  current_entry = nullptr;
}

std::span<std::byte> answer_space() {
  return current_entry != nullptr ? current_entry->answer_space() : std::span<std::byte>();
}

int reply_error(fuse_req_t request, int error) {
  if (current_entry == nullptr) return fuse_reply_err(request, error);
  fuse_reply_none(request);  // it lets go of the request, and sends nothing
  current_entry->put_error(error);
  return 0;
}

int reply_bytes(fuse_req_t request, std::span<const std::byte> bytes) {
  if (current_entry == nullptr)
    return fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  fuse_reply_none(request);
  current_entry->put_answer(bytes);
  return 0;
}

}  // namespace varve::fuse
