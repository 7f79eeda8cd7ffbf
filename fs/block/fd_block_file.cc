#include "fs/block/fd_block_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>

namespace varve::block {
namespace {

// The kernel's offsets are signed; what does not fit is larger than any file.
bool fits_offset(std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
  return offset_bytes <= kMax && size_bytes <= kMax - offset_bytes;
}

}  // namespace

Result<std::size_t> FdBlockFile::read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  std::size_t done = 0;
  if (!fits_offset(offset_bytes, out.size())) return done;
  while (done < out.size()) {
    const ssize_t n =
        ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno::last();
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Status FdBlockFile::write_at(std::uint64_t offset_bytes, std::span<const std::byte> data) {
  if (!fits_offset(offset_bytes, data.size())) return Errno{EFBIG};
  std::size_t done = 0;
  while (done < data.size()) {
    const ssize_t n =
        ::pwrite(fd_.get(), data.data() + done, data.size() - done, static_cast<off_t>(offset_bytes + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Errno::last();
    // A write that takes nothing and names no reason would loop for ever.
    if (n == 0) return Errno{EIO};
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<std::uint64_t> FdBlockFile::size_bytes() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return Errno::last();
  return static_cast<std::uint64_t>(status.st_size);
}

Status FdBlockFile::truncate(std::uint64_t size_bytes) {
  if (!fits_offset(size_bytes, 0)) return Errno{EFBIG};
  while (::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) != 0) {
    if (errno != EINTR) return Errno::last();
  }
  return {};
}

Status FdBlockFile::allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  if (!fits_offset(offset_bytes, size_bytes)) return Errno{EFBIG};
  while (::fallocate(fd_.get(), mode, static_cast<off_t>(offset_bytes), static_cast<off_t>(size_bytes)) !=
         0) {
    if (errno != EINTR) return Errno::last();
  }
  return {};
}

Status FdBlockFile::sync(bool data_only) {
  while ((data_only ? ::fdatasync(fd_.get()) : ::fsync(fd_.get())) != 0) {
    if (errno != EINTR) return Errno::last();
  }
  return {};
}

Result<std::optional<std::uint64_t>> FdBlockFile::seek_data(std::uint64_t offset_bytes) const {
  return seek(offset_bytes, SEEK_DATA);
}

Result<std::optional<std::uint64_t>> FdBlockFile::seek_hole(std::uint64_t offset_bytes) const {
  return seek(offset_bytes, SEEK_HOLE);
}

Result<std::uint64_t> FdBlockFile::blocks_512() const {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return Errno::last();
  return static_cast<std::uint64_t>(status.st_blocks);
}

Result<std::optional<std::uint64_t>> FdBlockFile::seek(std::uint64_t offset_bytes, int whence) const {
  using Found = std::optional<std::uint64_t>;
  if (!fits_offset(offset_bytes, 0)) return Found{};
  const off_t found = ::lseek(fd_.get(), static_cast<off_t>(offset_bytes), whence);
  if (found >= 0) return Found{static_cast<std::uint64_t>(found)};
  if (errno == ENXIO) return Found{};
  return Errno::last();
}

}  // namespace varve::block
