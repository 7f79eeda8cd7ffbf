#include "fs/fuse/ring_entry.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace varve::fuse {
namespace {

// One page before the payload: at its beginning what the kernel calls the header, at its end what stands before the payload
// in a request of one piece.
constexpr std::size_t kLeadInBytes = 4096;
static_assert(sizeof(wire::RingHeader) + sizeof(struct fuse_in_header) +
                  sizeof(wire::RingHeader::operation) <=
              kLeadInBytes);
static_assert(sizeof(wire::RingHeader) == 288 && sizeof(wire::RingCommand) == 24);

}  // namespace

std::unique_ptr<RingEntry> RingEntry::make(std::uint16_t queue, std::size_t payload_bytes) {
  void* const memory = ::mmap(nullptr, kLeadInBytes + payload_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return std::unique_ptr<RingEntry>(new (std::nothrow)
                                        RingEntry(queue, static_cast<std::byte*>(memory), payload_bytes));
}

RingEntry::RingEntry(std::uint16_t queue, std::byte* memory, std::size_t payload_bytes)
    : queue_(queue), memory_begin_(memory), payload_bytes_(payload_bytes) {
  memory_ = {{{.iov_base = memory, .iov_len = sizeof(wire::RingHeader)},
              {.iov_base = payload(), .iov_len = payload_bytes}}};
}

RingEntry::~RingEntry() {
  ::munmap(memory_begin_, kLeadInBytes + payload_bytes_);
}

std::byte* RingEntry::payload() const {
  return memory_begin_ + kLeadInBytes;
}

wire::RingHeader& RingEntry::header() const {
  return *reinterpret_cast<wire::RingHeader*>(memory_begin_);
}

std::optional<struct fuse_buf> RingEntry::take_request() {
  struct fuse_in_header in {};
  std::memcpy(&in, header().in_out.data(), sizeof in);
  commit_id_ = header().state.commit_id;
  unique_ = in.unique;
  answered_ = false;
  const std::size_t behind = header().state.payload_bytes;
  if (behind > payload_bytes_ || in.len < sizeof in + behind) return std::nullopt;
  const std::size_t operation = in.len - sizeof in - behind;
  if (operation > header().operation.size()) return std::nullopt;
  std::byte* const begin = payload() - operation - sizeof in;
  std::memcpy(begin, &in, sizeof in);
  std::memcpy(begin + sizeof in, header().operation.data(), operation);
  struct fuse_buf request {};
  request.mem = begin;
  request.size = in.len;
  return request;
}

// `error`: as the kernel takes it, negative.
void RingEntry::put(int error, std::size_t payload_bytes) {
  struct fuse_out_header out {};
  out.len = static_cast<std::uint32_t>(sizeof out + payload_bytes);
  out.error = error;
  out.unique = unique_;
  std::memcpy(header().in_out.data(), &out, sizeof out);
  header().state.payload_bytes = static_cast<std::uint32_t>(payload_bytes);
  answered_ = true;
}

void RingEntry::put_answer(std::span<const std::byte> content) {
  if (content.size() > payload_bytes_) {
    put_error(EIO);
    return;
  }
  // It may have been put together here.
  if (!content.empty() && content.data() != payload())
    std::memmove(payload(), content.data(), content.size());
  put(0, content.size());
}

void RingEntry::put_error(int error) {
  put(-error, 0);
}

int RingEntry::answered_error() const {
  if (!answered_) return 0;
  struct fuse_out_header out {};
  std::memcpy(&out, header().in_out.data(), sizeof out);
  return -out.error;
}

}  // namespace varve::fuse
