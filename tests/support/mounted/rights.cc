#include "tests/support/mounted/rights.h"

#include <fcntl.h>
#include <sys/utsname.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "fs/base/unique_fd.h"

namespace varve::test {
namespace {

constexpr std::uint64_t kAllIds = 0xFFFFFFFF;  // user_namespaces(7): the initial namespace maps them all
constexpr std::uint64_t kOrdinaryIds = 65536;

std::uint64_t mapped_ids() {
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t all = 0;
  for (std::uint64_t inside = 0, outside = 0, count = 0; map >> inside >> outside >> count;) all += count;
  return all;
}

bool kernel_is_at_least(int major, int minor) {
  struct utsname name {};
  int running_major = 0;
  int running_minor = 0;
  if (::uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &running_major, &running_minor) != 2)
    return false;
  return running_major > major || (running_major == major && running_minor >= minor);
}

bool may_ask_for_wakeup() {
  std::ifstream file("/sys/devices/system/cpu/cpuidle/current_driver");
  std::string driver;
  file >> driver;
  return driver != "none" && UniqueFd(::open("/dev/cpu_dma_latency", O_RDWR | O_CLOEXEC)).valid();
}

bool has_rings() {
  std::ifstream parameter("/sys/module/fuse/parameters/enable_uring");
  return parameter.get() == 'Y';
}

}  // namespace

std::string lack_of(Right right) {
  const std::uint64_t ids = mapped_ids();
  if (right == Right::kOtherOwners && ids < kOrdinaryIds)
    return "needs other users: this user namespace has none\n";
  if (right == Right::kRootOfHost && ids < kAllIds)
    return "needs root of the host: trusted xattrs, devices, any id\n";
  if (right == Right::kPassthrough && (ids < kAllIds || !kernel_is_at_least(6, 9)))
    return "needs root of the host and Linux 6.9: passthrough\n";
  if (right == Right::kRings && !has_rings()) return "needs fuse.enable_uring (run scripts/test-uring)\n";
  if (right == Right::kWakeup && !may_ask_for_wakeup())
    return "needs root of the host, /dev/cpu_dma_latency and a driver for idle processors\n";
  const char* options = ::getenv("VARVE_TEST_MOUNT_OPTIONS");
  if (right == Right::kPlainUpper && options != nullptr && std::strstr(options, "xattr_permissions")) {
    return "needs an upper without owners in xattrs\n";
  }
  return {};
}

}  // namespace varve::test
