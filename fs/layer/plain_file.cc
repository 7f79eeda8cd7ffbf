#include "fs/layer/plain_file.h"

#include <unistd.h>

#include <algorithm>

namespace varve::layer {

Result<std::size_t> PlainFile::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (offset_bytes >= size_bytes_) return std::size_t{0};
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_bytes_ - offset_bytes)));
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t count =
        ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset_bytes + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Errno::last();
    if (count == 0) break;  // the file shrank under us
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Result<std::optional<Range>> PlainFile::next_data(std::uint64_t offset_bytes) const {
  if (offset_bytes >= size_bytes_) return std::optional<Range>();
  const Range rest{offset_bytes, size_bytes_ - offset_bytes};
  // lseek moves the descriptor's own offset, which nothing here uses.
  const off_t start = ::lseek(fd_.get(), static_cast<off_t>(offset_bytes), SEEK_DATA);
  if (start < 0) {
    if (errno == ENXIO) return std::optional<Range>();
    if (errno == EINVAL || errno == EOPNOTSUPP) return std::optional<Range>(rest);
    return Errno::last();
  }
  const auto first = static_cast<std::uint64_t>(start);
  if (first >= size_bytes_) return std::optional<Range>();
  const off_t end = ::lseek(fd_.get(), start, SEEK_HOLE);
  if (end < 0) return Errno::last();
  return std::optional<Range>(
      Range{first, std::min<std::uint64_t>(static_cast<std::uint64_t>(end), size_bytes_) - first});
}

}  // namespace varve::layer
