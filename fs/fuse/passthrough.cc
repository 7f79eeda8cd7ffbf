#include "fs/fuse/passthrough.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "fs/base/log.h"
#include "fs/base/user_namespace.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

bool has_effective_capability(unsigned number) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) return ((std::stoull(line.substr(7), nullptr, 16) >> number) & 1) != 0;
  }
  return false;
}

}  // namespace

bool may_register_backings() {
  constexpr unsigned kSysAdmin = 21;  // capability.h
  return in_initial_user_namespace() && has_effective_capability(kSysAdmin);
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
