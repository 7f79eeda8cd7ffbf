#include "fs/fuse/passthrough.h"

#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "fs/base/log.h"
#include "fs/base/user_namespace.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

bool has_effective_capability(unsigned number) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<struct __user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  return (sets[number / 32].effective >> number % 32 & 1) != 0;
}

}  // namespace

bool may_register_backings() {
  return in_initial_user_namespace() && has_effective_capability(CAP_SYS_ADMIN);
}

std::optional<std::int32_t> KernelBackings::add(int fd) {
  const int device = device_.load(std::memory_order_relaxed);
  if (device < 0 || refused_.load(std::memory_order_relaxed)) return std::nullopt;
  wire::BackingMap map{.fd = fd};
  const int id = ::ioctl(device, wire::kBackingOpen, &map);
  if (id > 0) return id;
  // Of one file (no memory): the next may do. Else all of this upper will be refused: ELOOP where it lies itself on a file
  // system that is stacked on others.
  const int error = errno;
  if (error != ENOMEM && error != ENOSPC && error != ENFILE && !refused_.exchange(true)) {
    log_info(
        "files of the upper are read and written through this process: the kernel refused passthrough: {}",
        std::strerror(error));
  }
  return std::nullopt;
}

void KernelBackings::remove(std::int32_t id) {
  const int device = device_.load(std::memory_order_relaxed);
  auto number = static_cast<std::uint32_t>(id);
  // It fails only when the mount is gone, and all registrations with it.
  if (device >= 0) ::ioctl(device, wire::kBackingClose, &number);
}

}  // namespace varve::fuse
