#include "fs/layer/read_around.h"

#include <fcntl.h>

namespace varve::layer {

void ReadAround::about_to_read(std::uint64_t offset_bytes) const {
  const std::uint64_t window = offset_bytes / kWindowBytes;
  const std::uint8_t reads_before = reads_[window % kCounts].fetch_add(1, std::memory_order_relaxed);
  if (reads_before != 1) return;
  ::posix_fadvise(fd_, static_cast<off_t>(window * kWindowBytes), static_cast<off_t>(kWindowBytes),
                  POSIX_FADV_WILLNEED);
}

}  // namespace varve::layer
