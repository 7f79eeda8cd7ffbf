// An operation on names or attributes whose system calls fail, one after the other: it fails with that error and the tree is as
// before, or it succeeds whole. Then it can be done again, and what it did lasts.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/mounted/faults/faulted_stack.h"
#include "tests/support/stride.h"

namespace varve::test {
namespace {

class Error : public OneOperation {
 protected:
  // Returns: whether the operation came as far as call `at`.
  void fail_at(std::uint32_t at, int error, bool looks_count, bool* reached) {
    ASSERT_TRUE(faulted_.reset());
    faulted_.arm(FaultKind::kFail, at, error, looks_count);
    const std::string got = faulted_.run();
    *reached = faulted_.disarm();
    if (!*reached) return;
    SCOPED_TRACE(fmt::format("{} failed with {}; the operation: {}", faulted_.what_was_hit(),
                             strerrorname_np(error), got));
    EXPECT_TRUE(got == "ok" || got == strerrorname_np(error));
    // The kernel may remember what was so before an operation that, as it was told, failed.
    if (got != "ok" && !changes(faulted_.hit())) {
      ASSERT_TRUE(faulted_.remount());
    }
    const Snapshot found = faulted_.tree();
    EXPECT_EQ(unlike_all(found, may_be_after(got)), "");
    // What was written down and what the daemon remembers: every other time it starts anew before it goes on, else at the end.
    const bool starts_anew = at % 2 == 0;
    if (starts_anew) {
      ASSERT_TRUE(faulted_.remount());
      EXPECT_EQ(differences(found, faulted_.tree()), "") << "after a remount";
    }
    if (got != "ok" && differences(old_tree(), found).empty()) {
      EXPECT_EQ(faulted_.run(), "ok") << "when nothing fails any more";
      EXPECT_EQ(differences(new_tree(), faulted_.tree()), "") << "done again";
    }
    ASSERT_TRUE(faulted_.stack().unmount());
    EXPECT_EQ(faulted_.leftovers(), "");
    if (!starts_anew && (got == "ok" || differences(old_tree(), found).empty())) {
      ASSERT_TRUE(faulted_.mount());
      EXPECT_EQ(differences(new_tree(), faulted_.tree()), "") << "at the end";
    }
  }

  void fail_at_every_call(int error, bool looks_count) {
    // With a stride each operation meets one of the two errors, in pairs since shards take every other one.
    if (stride() > 1 && !looks_count && (number() / 2 % 2 == 0) != (error == ENOSPC)) {
      GTEST_SKIP() << "VARVE_TEST_STRIDE: this operation meets the other error";
    }
    ASSERT_NO_FATAL_FAILURE(learn());
    std::uint32_t hit = 0;
    for (std::uint32_t at = first_call(); at <= last_call(); at += stride()) {
      bool reached = false;
      ASSERT_NO_FATAL_FAILURE(fail_at(at, error, looks_count, &reached));
      if (!reached) break;
      ++hit;
      ASSERT_LE(at, 1000U);
    }
    EXPECT_GE(hit, 1U) << "the interposer sees what the operation does";
    EXPECT_EQ(faulted_.control().seen[static_cast<std::uint32_t>(Call::kStranger)], 0U);
  }

  std::vector<Snapshot> may_be_after(const std::string& got) const {
    if (got == "ok") return {new_tree()};
    // A change that took place, and whose result cannot be looked at.
    if (!changes(faulted_.hit())) return states_;
    if (GetParam().between != nullptr) return {old_tree(), states_[2]};
    return {old_tree()};
  }

  const Snapshot& old_tree() const { return states_[0]; }
  const Snapshot& new_tree() const { return states_[1]; }
};

TEST_P(Error, NoSpaceAtAnyChangeLeavesTheOldTreeOrTheNew) {
  fail_at_every_call(ENOSPC, false);
}

TEST_P(Error, OfTheDiskAtAnyChangeLeavesTheOldTreeOrTheNew) {
  fail_at_every_call(EIO, false);
}

// Seven minutes.
TEST_P(Error, OfTheDiskAtAnyCallLeavesTheOldTreeOrTheNew) {
  if (::getenv("VARVE_FAULTS_EVERYWHERE") == nullptr) GTEST_SKIP() << "VARVE_FAULTS_EVERYWHERE is not set";
  fail_at_every_call(EIO, true);
}

INSTANTIATE_TEST_SUITE_P(Of, Error, testing::ValuesIn(all_operations()), operation_name);

}  // namespace
}  // namespace varve::test
