#include "fs/layer/read_fully.h"

#include <unistd.h>

namespace varve::layer {

Status read_fully(int fd, std::uint64_t offset_bytes, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset_bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Errno::last();
    if (count == 0) return Errno{ENODATA};
    out = out.subspan(static_cast<std::size_t>(count));
    offset_bytes += static_cast<std::uint64_t>(count);
  }
  return {};
}

}  // namespace varve::layer
