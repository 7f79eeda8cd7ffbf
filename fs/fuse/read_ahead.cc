#include "fs/fuse/read_ahead.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string_view>

#include "fs/base/unique_fd.h"

namespace varve::fuse {
namespace {

// Two requests of the default size at a time, so that two processors decode. More gains little when reading in order, and a fault
// on a mapped file reads this much around it.
constexpr std::string_view kReadAheadKb = "256";

}  // namespace

std::optional<dev_t> mounted_device(const std::string& mount_point) {
  struct statx status {};
  // AT_STATX_DONT_SYNC: from what the kernel knows, without GETATTR.
  const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;
  if (::statx(AT_FDCWD, mount_point.c_str(), flags, STATX_TYPE, &status) != 0) return std::nullopt;
  return makedev(status.stx_dev_major, status.stx_dev_minor);
}

void raise_read_ahead(dev_t device) {
  const std::string path = fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(device), minor(device));
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return;
  // Refused or not: the mount works as well with what it has.
  [[maybe_unused]] const ssize_t written = ::write(file.get(), kReadAheadKb.data(), kReadAheadKb.size());
}

}  // namespace varve::fuse
