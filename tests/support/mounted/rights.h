#pragma once

// What some mounted tests need of whoever runs them; without it they are skipped and say why. Root of the host has every right, an
// ordinary user in a user namespace (tests/run/mounted_as_user.sh) only those that the namespace gives. Thread rule: one thread.

#include <gtest/gtest.h>

#include <string>

namespace varve::test {

enum class Right {
  kOtherOwners,  // to give files to other users, and to be them
  kRootOfHost,   // trusted xattrs, device nodes that work, any id
  kPassthrough,  // the kernel reads and writes files of the upper itself: root of the host, Linux 6.9
  kRings,  // requests over io_uring: Linux 6.14, with fuse.enable_uring set (scripts/test-uring sets it)
  kWakeup,  // to ask for processors that wake up quickly: /dev/cpu_dma_latency, and a kernel that drives idle processors
  kPlainUpper,  // an upper whose files have their owners themselves (VARVE_TEST_MOUNT_OPTIONS has no xattr_permissions)
};
// Empty for a right that is had, else a sentence that begins with "needs".
std::string lack_of(Right right);

}  // namespace varve::test

#define VARVE_NEEDS(right)                                                                     \
  if (const std::string lack = varve::test::lack_of(varve::test::Right::right); !lack.empty()) \
  GTEST_SKIP() << lack
