#include "imagetool/image/source/sparse_content.h"

#include <unistd.h>

#include <algorithm>

namespace varve::image {

// Moves offset_ to the next data; to the end of the file when there is none.
StatusOrFailure SparseContent::find_data() {
  off_t start = static_cast<off_t>(offset_);
  off_t end = ::lseek(fd_, start, SEEK_HOLE);
  if (end < 0 && errno == ENXIO) {  // it became shorter: nothing is there any more
    offset_ = data_end_ = size_bytes_;
    return {};
  }
  if (end == start) {  // rare: most files have no holes, and this question alone tells
    start = ::lseek(fd_, start, SEEK_DATA);
    if (start < 0 && errno == ENXIO) {
      offset_ = data_end_ = size_bytes_;
      return {};
    }
    end = start < 0 ? start : ::lseek(fd_, start, SEEK_HOLE);
  }
  if (end < 0) {
    if (errno != EINVAL && errno != ENOTSUP) return failure_from(Errno::last(), path_);
    data_end_ = size_bytes_;  // a file system that knows no holes
    return {};
  }
  offset_ = std::min(static_cast<std::uint64_t>(start), size_bytes_);
  data_end_ = std::min(static_cast<std::uint64_t>(end), size_bytes_);
  return {};
}

ResultOrFailure<std::optional<Chunk>> SparseContent::next() {
  if (monitor_.cancelled()) return cancelled_failure();
  if (offset_ >= data_end_ && offset_ < size_bytes_) {
    const std::uint64_t before = offset_;
    VARVE_RETURN_IF_ERROR(find_data());
    monitor_.advance(offset_ - before);
  }
  if (offset_ >= size_bytes_) return std::optional<Chunk>{};
  const std::size_t want =
      static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), data_end_ - offset_));
  std::size_t have = 0;
  while (have < want) {
    const ssize_t got = ::pread(fd_, buffer_.data() + have, want - have, static_cast<off_t>(offset_ + have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure_from(Errno::last(), path_);
    if (got == 0)
      return Failure{EIO, path_ + ": became shorter while it was read (try again when nobody writes to it)"};
    have += static_cast<std::size_t>(got);
  }
  const Chunk chunk{offset_, buffer_.first(want)};
  offset_ += want;
  monitor_.advance(want);
  return std::optional<Chunk>{chunk};
}

}  // namespace varve::image
