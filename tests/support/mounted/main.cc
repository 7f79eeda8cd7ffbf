// main() of the mounted tests: says why they cannot run here, else runs them.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in cmake/VarveTargets.cmake

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (::geteuid() != 0) {
    std::puts("skipped: mounted tests set owners and device nodes, which only root may");
    return kSkipped;
  }
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    std::puts("skipped: there is no usable /dev/fuse here");
    return kSkipped;
  }
  ::umask(022);
  return RUN_ALL_TESTS();
}
