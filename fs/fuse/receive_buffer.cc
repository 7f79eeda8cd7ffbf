#include "fs/fuse/receive_buffer.h"

#include <sys/mman.h>

#include <cerrno>

#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

// A page before that of the payload; the headers lie at its end.
constexpr std::size_t kLeadInBytes = 4096;
constexpr std::size_t kHeaderBytes = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
static_assert(kHeaderBytes <= kLeadInBytes);

}  // namespace

ReceiveBuffer::~ReceiveBuffer() {
  if (memory_ != nullptr) ::munmap(memory_, kLeadInBytes + payload_bytes_);
}

bool ReceiveBuffer::allocate() {
  void* const memory = ::mmap(nullptr, kLeadInBytes + payload_bytes_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  memory_ = static_cast<std::byte*>(memory);
  return true;
}

std::byte* ReceiveBuffer::begin() const {
  return memory_ + kLeadInBytes - kHeaderBytes;
}

int ReceiveBuffer::receive(int device, const DeviceRead& read) {
  request_ = {};
  if (memory_ == nullptr && !allocate()) return -ENOMEM;
  const ssize_t size = read(device, begin(), kHeaderBytes + payload_bytes_);
  // ENOENT: who asked was interrupted meanwhile.
  if (size < 0) return errno == ENOENT ? -EINTR : -errno;
  if (static_cast<std::size_t>(size) < sizeof(struct fuse_in_header)) return -EIO;
  request_.mem = begin();
  request_.size = static_cast<std::size_t>(size);
  return static_cast<int>(size);
}

}  // namespace varve::fuse
