// main() of the mounted tests: says why they cannot run here, else runs them.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/mounted/in_memory.h"
#include "tests/support/mounted/mounted_stack.h"
#include "tests/support/mounted/own_mounts.h"

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in cmake/VarveTargets.cmake

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* reason = varve::test::why_no_mounts()) {
    std::printf("skipped: %s\n", reason);
    return kSkipped;
  }
  varve::test::enter_own_mounts();
  if (std::getenv("VARVE_TEST_IN_MEMORY") != nullptr) varve::test::work_in_memory();
  ::umask(022);
  return RUN_ALL_TESTS();
}
