#include "tests/support/mounted/own_mounts.h"

#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace varve::test {

void enter_own_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) return;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return;
  std::fprintf(stderr, "making the mounts private: %s\n", std::strerror(errno));
  std::abort();
}

}  // namespace varve::test
