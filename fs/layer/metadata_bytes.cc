#include "fs/layer/metadata_bytes.h"

#include <sys/mman.h>
#include <unistd.h>

#include "fs/format/layer_layout.h"
#include "fs/layer/read_fully.h"

namespace varve::layer {

MetadataBytes::~MetadataBytes() {
  if (!mapping_.empty()) ::munmap(mapping_.data(), mapping_.size());
}

Result<MetadataBytes> MetadataBytes::load(int fd, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  const std::uint64_t lead_bytes = offset_bytes % format::kSectionAlignment;
  const std::uint64_t mapped_bytes = lead_bytes + size_bytes;
  void* const address =
      ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return Errno::last();
  MetadataBytes metadata;
  metadata.mapping_ = {static_cast<std::byte*>(address), mapped_bytes};
  // Large pages where they fit: filling 120 MB page by page takes longer than reading it. Where there are none, nothing is
  // lost.
  ::madvise(address, mapped_bytes, MADV_HUGEPAGE);
  const std::span<std::byte> bytes = metadata.mapping_.subspan(lead_bytes);
  VARVE_RETURN_IF_ERROR(read_fully(fd, offset_bytes, bytes));
  // From here on a stray write of our own is a crash, not a wrong answer.
  if (::mprotect(address, mapped_bytes, PROT_READ) != 0) return Errno::last();
  metadata.bytes_ = bytes;
  return metadata;
}

Result<MetadataBytes> MetadataBytes::reserve(std::uint64_t size_bytes) {
  void* const address =
      ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return Errno::last();
  MetadataBytes metadata;
  metadata.mapping_ = {static_cast<std::byte*>(address), size_bytes};
  metadata.bytes_ = metadata.mapping_;
  // A large page would take 2 MiB for the few bytes that are touched.
  ::madvise(address, size_bytes, MADV_NOHUGEPAGE);
  return metadata;
}

}  // namespace varve::layer
