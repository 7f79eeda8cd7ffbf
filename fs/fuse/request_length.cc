#include "fs/fuse/request_length.h"

#include <linux/fuse.h>

#include <cstring>

namespace varve::fuse {
namespace {

// A read of so much is worth waking a thread for: it is decoded while the next request is taken.
constexpr std::uint32_t kLongReadBytes = 65'536;
constexpr std::uint32_t kLongWriteBytes = 65'536;

}  // namespace

RequestLength length_of(const struct fuse_buf& request, const std::function<bool()>& more_wait) {
  // Only large requests come in a pipe.
  if ((request.flags & FUSE_BUF_IS_FD) != 0) return RequestLength::kLong;
  struct fuse_in_header header {};
  if (request.size < sizeof header) return RequestLength::kShort;
  std::memcpy(&header, request.mem, sizeof header);
  switch (header.opcode) {
    case FUSE_READ: {
      struct fuse_read_in read {};
      if (request.size < sizeof header + sizeof read) return RequestLength::kShort;
      std::memcpy(&read, static_cast<const char*>(request.mem) + sizeof header, sizeof read);
      return read.size >= kLongReadBytes || more_wait() ? RequestLength::kBusy : RequestLength::kShort;
    }
    case FUSE_WRITE:
      return header.len >= kLongWriteBytes || more_wait() ? RequestLength::kLong : RequestLength::kShort;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
      return RequestLength::kLong;
    default:
      return RequestLength::kShort;
  }
}

}  // namespace varve::fuse
