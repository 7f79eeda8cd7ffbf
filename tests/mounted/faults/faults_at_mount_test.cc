// A mount that takes up what a kill left, and an unmount, of which each system call fails or is the last in turn: the next mount works
// and shows the same.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>

#include "tests/mounted/faults/faulted_stack.h"
#include "tests/support/stride.h"

namespace varve::test {
namespace {

Operation operation_named(const std::string& name) {
  for (const Operation& operation : all_operations()) {
    if (operation.name == name) return operation;
  }
  ADD_FAILURE() << "no operation " << name;
  return {};
}

// Copies up a hard link, gives it a second name and moves that: all that a mount has to take up after a kill.
class MountFault : public testing::TestWithParam<std::uint32_t> {
 protected:
  MountFault() : faulted_(operation_named("rename_lower_hard_link")) {}

  void SetUp() override {
    VARVE_NEEDS(kRootOfHost);
    ASSERT_TRUE(faulted_.ready());
    ASSERT_NO_FATAL_FAILURE(kill_operation());
    ASSERT_TRUE(faulted_.mount());
    tree_ = faulted_.tree();
  }
  // Leaves it as a kill before call GetParam() leaves it, unmounted.
  void kill_operation() {
    ASSERT_TRUE(faulted_.reset());
    faulted_.arm(FaultKind::kKillBefore, GetParam());
    faulted_.run();
    ASSERT_TRUE(faulted_.disarm()) << "the operation has fewer calls";
    faulted_.stack().kill();
  }
  void expect_the_same() {
    EXPECT_EQ(differences(tree_, faulted_.tree()), "");
    ASSERT_TRUE(faulted_.stack().unmount());
    EXPECT_EQ(faulted_.leftovers(), "");
  }
  // A fault at call `at` of the mount. Returns: whether the mount came so far.
  bool mount_with(FaultKind kind, std::uint32_t at) {
    faulted_.arm(kind, at, EIO);
    const bool mounted = bool(faulted_.mount());
    const bool came = faulted_.disarm();
    EXPECT_TRUE(mounted || came) << "refused without a fault";
    if (!mounted) {
      // Killed when it noted the mount on the upper, it has left that mount behind.
      ::umount2(faulted_.stack().mount_point().c_str(), MNT_DETACH);
      EXPECT_TRUE(faulted_.mount()) << "no repair by hand";
    }
    return came;
  }
  // A fault at call `at` of the unmount, and a mount after it. Returns: whether the unmount came so far.
  bool unmount_with(FaultKind kind, std::uint32_t at) {
    faulted_.arm(kind, at, EIO);
    const bool ended_well = bool(faulted_.stack().unmount());
    const bool came = faulted_.disarm();
    EXPECT_TRUE(ended_well || came) << "ended badly without a fault";
    EXPECT_TRUE(faulted_.mount()) << "no repair by hand";
    return came;
  }
  void try_mounts(FaultKind kind) {
    std::uint32_t at = 1;
    for (bool came = true; came; at += came ? stride() : 0) {
      ASSERT_NO_FATAL_FAILURE(kill_operation());
      came = mount_with(kind, at);
      SCOPED_TRACE(faulted_.what_was_hit());
      ASSERT_NO_FATAL_FAILURE(expect_the_same());
    }
    EXPECT_GT(at, 10U) << "a mount makes at least these changes";
  }
  void try_unmounts(FaultKind kind) {
    std::uint32_t at = 1;
    for (bool came = true; came; at += came ? stride() : 0) {
      ASSERT_NO_FATAL_FAILURE(kill_operation());
      ASSERT_TRUE(faulted_.mount());
      came = unmount_with(kind, at);
      SCOPED_TRACE(faulted_.what_was_hit());
      ASSERT_NO_FATAL_FAILURE(expect_the_same());
    }
    EXPECT_GT(at, 5U) << "an unmount makes at least these changes";
  }

  FaultedStack faulted_;
  Snapshot tree_;
};

TEST_P(MountFault, AnErrorOfAMountIsOverWithTheNext) {
  try_mounts(FaultKind::kFail);
}

TEST_P(MountFault, AKillOfAMountIsOverWithTheNext) {
  try_mounts(FaultKind::kKillBefore);
}

TEST_P(MountFault, AnErrorOfAnUnmountIsOverWithTheNextMount) {
  try_unmounts(FaultKind::kFail);
}

TEST_P(MountFault, AKillOfAnUnmountIsOverWithTheNextMount) {
  try_unmounts(FaultKind::kKillBefore);
}

// Among them the moments with an index entry that is not confirmed, and with a link count that is about to change.
INSTANTIATE_TEST_SUITE_P(AfterAKillBeforeCall, MountFault, testing::Values(3U, 13U, 15U, 16U));

}  // namespace
}  // namespace varve::test
