#pragma once

// MetadataGate: what LayerTables asks before it touches bytes, when not all metadata is in memory yet. The bytes lie in pages
// of kMetadataPageBytes; a page is absent, or it is present, verified, and stays so.
// Thread rule: admit() may be called from any thread. Ownership: borrowed by LayerTables.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fs/format/layer_layout.h"

namespace varve::format {

class MetadataGate {
 public:
  MetadataGate(const MetadataGate&) = delete;
  MetadataGate& operator=(const MetadataGate&) = delete;

  // True when the `size_bytes` from `begin` on may be read from now on: they are there and verified. One atomic load for each
  // page when they are. False: they cannot be had, which has been told; another try may succeed.
  // Requires: the bytes lie within the metadata.
  bool admit(const void* begin, std::size_t size_bytes) const {
    if (size_bytes == 0) return true;
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(begin) - base_);
    const std::size_t last = (offset + size_bytes - 1) >> kMetadataPageLog2;
    for (std::size_t page = offset >> kMetadataPageLog2; page <= last; ++page) {
      if (present_[page].load(std::memory_order_acquire) == 0 && !fetch(page)) return false;
    }
    return true;
  }

 protected:
  MetadataGate() = default;
  ~MetadataGate() = default;

  // Brings page `page` in and sets its flag in `present_`. Any thread, several for one page at once.
  virtual bool fetch(std::size_t page) const = 0;

  const std::byte* base_ = nullptr;                // of page 0
  std::atomic<unsigned char>* present_ = nullptr;  // per page: not 0 when it is there; set with release order
};

}  // namespace varve::format
