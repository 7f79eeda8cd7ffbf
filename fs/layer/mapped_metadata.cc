#include "fs/layer/mapped_metadata.h"

#include <sys/mman.h>
#include <unistd.h>

#include "fs/layer/read_fully.h"

namespace varve::layer {

MappedMetadata::~MappedMetadata() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

Result<MappedMetadata> MappedMetadata::load(int fd, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  const bool copied = size_bytes <= kCopyLimitBytes;
  const int protection = copied ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const address =
      ::mmap(nullptr, size_bytes, protection, copied ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE,
             copied ? -1 : fd, copied ? 0 : static_cast<off_t>(offset_bytes));
  if (address == MAP_FAILED) return Errno::last();
  MappedMetadata metadata;
  metadata.bytes_ = {static_cast<std::byte*>(address), size_bytes};
  if (copied) {
    VARVE_RETURN_IF_ERROR(read_fully(fd, offset_bytes, metadata.bytes_));
    // From here on a stray write of our own is a crash, not a wrong answer.
    if (::mprotect(address, size_bytes, PROT_READ) != 0) return Errno::last();
  }
  return metadata;
}

}  // namespace varve::layer
