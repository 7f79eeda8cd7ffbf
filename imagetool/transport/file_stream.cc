#include "imagetool/transport/file_stream.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace varve::transport {

FileStream::FileStream(SharedFile file, std::uint64_t offset_bytes, std::string name)
    : file_(std::move(file)), offset_bytes_(offset_bytes), name_(std::move(name)) {}

ResultOrFailure<std::size_t> FileStream::read(std::span<std::byte> into) {
  for (;;) {
    const ssize_t got = ::pread(file_->get(), into.data(), into.size(), static_cast<off_t>(offset_bytes_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure_from(Errno::last(), name_);
    offset_bytes_ += static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  }
}

std::uint64_t FileStream::skip(std::uint64_t most_bytes) {
  struct stat status {};
  if (::fstat(file_->get(), &status) != 0) return 0;
  const auto size = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t skipped = std::min(most_bytes, size > offset_bytes_ ? size - offset_bytes_ : 0);
  offset_bytes_ += skipped;
  return skipped;
}

}  // namespace varve::transport
