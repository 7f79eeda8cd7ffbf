// An operation on names or attributes under which the daemon is killed, before each of its system calls and after the last: the
// next mount needs no repair, shows the tree as it was or as the operation makes it, and has cleaned up.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/mounted/faults/faulted_stack.h"
#include "tests/support/stride.h"

namespace varve::test {
namespace {

class Kill : public OneOperation {
 protected:
  // `came`: whether the operation came as far as call `at`.
  void kill_at(FaultKind kind, std::uint32_t at, bool* came) {
    ASSERT_TRUE(faulted_.reset());
    faulted_.arm(kind, at);
    const std::string got = faulted_.run();
    *came = faulted_.disarm();
    if (!*came) return;
    SCOPED_TRACE(faulted_.what_was_hit() +
                 (kind == FaultKind::kKillBefore ? ", killed before it" : ", killed after it"));
    ASSERT_TRUE(faulted_.mount_after_kill()) << "no repair by hand";
    const Snapshot found = faulted_.tree();
    EXPECT_EQ(unlike_all(found, states_), "");
    if (differences(states_[0], found).empty()) {
      EXPECT_NE(got, "ok") << "an operation that was completed is lost";
      EXPECT_EQ(faulted_.run(), "ok") << "it can be done again";
      EXPECT_EQ(differences(states_[1], faulted_.tree()), "") << "done again";
    }
    ASSERT_TRUE(faulted_.stack().unmount());
    EXPECT_EQ(faulted_.leftovers(), "");
  }
};

TEST_P(Kill, AtAnyChangeLeavesTheOldTreeOrTheNew) {
  ASSERT_NO_FATAL_FAILURE(learn());
  std::uint32_t last = 0;
  bool came = true;
  for (std::uint32_t at = first_call(); came && at <= last_call(); at += stride()) {
    ASSERT_NO_FATAL_FAILURE(kill_at(FaultKind::kKillBefore, at, &came));
    if (came) last = at;
  }
  ASSERT_GE(last, 1U) << "the interposer sees what the operation does";
  // A call that the daemon makes after its reply may have come when they were counted, and not now.
  std::uint32_t at = std::max(last, calls_);
  do {
    ASSERT_NO_FATAL_FAILURE(kill_at(FaultKind::kKillAfter, at, &came));
  } while (!came && --at >= last);
  EXPECT_TRUE(came);
}

INSTANTIATE_TEST_SUITE_P(Of, Kill, testing::ValuesIn(all_operations()), operation_name);

}  // namespace
}  // namespace varve::test
