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

bool RingEntry::is_answer(const struct iovec& header) const {
  struct fuse_out_header out {};
  if (answered_ || header.iov_len != sizeof out) return false;
  std::memcpy(&out, header.iov_base, sizeof out);
  return out.unique == unique_;
}

ssize_t RingEntry::put_answer(std::span<const struct iovec> pieces) {
  std::size_t filled = 0;
  for (const struct iovec& piece : pieces.subspan(1)) {
    if (piece.iov_len > payload_bytes_ - filled) {
      errno = EINVAL;
      return -1;
    }
    // It may have been put together here.
    if (piece.iov_base != payload() + filled) std::memmove(payload() + filled, piece.iov_base, piece.iov_len);
    filled += piece.iov_len;
  }
  std::memcpy(header().in_out.data(), pieces[0].iov_base, pieces[0].iov_len);
  header().state.payload_bytes = static_cast<std::uint32_t>(filled);
  answered_ = true;
  return static_cast<ssize_t>(pieces[0].iov_len + filled);
}

int RingEntry::answered_error() const {
  if (!answered_) return 0;
  struct fuse_out_header out {};
  std::memcpy(&out, header().in_out.data(), sizeof out);
  return -out.error;
}

void RingEntry::put_error(int error) {
  struct fuse_out_header out {};
  out.len = sizeof out;
  out.error = -error;
  out.unique = unique_;
  const struct iovec piece { .iov_base = &out, .iov_len = sizeof out };
  put_answer({&piece, 1});
}

}  // namespace varve::fuse
