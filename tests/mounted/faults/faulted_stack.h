#pragma once

// FaultedStack: a stack whose daemon has fault_points.so before it (fault_control.h). Its upper is made once; reset() brings it back
// and mounts. Thread rule: one thread. Owned by the test, as the MountedStack in it.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/mounted/faults/fault_control.h"
#include "tests/mounted/faults/kept_trees.h"
#include "tests/mounted/faults/operations.h"
#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {

class FaultedStack {
 public:
  // Requires: ready() before anything else.
  explicit FaultedStack(const Operation& operation);
  ~FaultedStack();
  FaultedStack(const FaultedStack&) = delete;
  FaultedStack& operator=(const FaultedStack&) = delete;
  // Whether the upper could be made.
  testing::AssertionResult ready() const { return ready_; }

  // The upper and the work directory as they were made, mounted anew.
  testing::AssertionResult reset();
  testing::AssertionResult mount();
  testing::AssertionResult remount();
  // The daemon is dead, or dies now; mounts what it left.
  testing::AssertionResult mount_after_kill();

  // The next call, or the `at`th from now on that counts, is hit.
  void arm(FaultKind kind, std::uint32_t at, int error = 0, bool looks_count = false);
  // Returns: whether the call came, that is whether the fault took place.
  bool disarm();
  // Runs the operation. Returns: "ok" or the name of its errno.
  std::string run() { return outcome(operation_.run(stack_.mount_point())); }
  std::string run_between() { return outcome(operation_.between(stack_.mount_point())); }

  // Names, kinds, contents, owners, modes, numbers of links and which names they are, xattrs; not times.
  Snapshot tree() const;
  // What in the work directory should be there only while something is under way; empty when there is nothing. Requires: unmounted.
  std::string leftovers() const;

  const FaultControl& control() const { return *control_; }
  // Requires: disarm() returned true.
  Call hit() const { return static_cast<Call>(control_->hit - 1); }
  std::string what_was_hit() const;
  MountedStack& stack() { return stack_; }

 private:
  testing::AssertionResult prepare();

  const Operation operation_;
  // Writes must come to the daemon to be failed there.
  MountedStack stack_{StackShape{.options = "passthrough=off"}};
  FaultControl* control_;
  std::unique_ptr<KeptTrees> kept_;
  testing::AssertionResult ready_;
};

// The fixture of a suite that does one operation again and again, with another fault each time.
class OneOperation : public testing::TestWithParam<Operation> {
 protected:
  OneOperation() : faulted_(GetParam()) {}

  // The operation, without faults: what it makes of the tree.
  void learn();
  // Of the operation among all.
  static std::uint32_t number();
  // The calls that are hit in turn: every one; with a stride, every so many, from another one on in each operation.
  std::uint32_t first_call() const;
  // The last to try. Without a stride there is none: the operation tells by not coming so far.
  std::uint32_t last_call() const;

  FaultedStack faulted_;
  std::vector<Snapshot>
      states_;  // that may show: the old one, the new one, and the one in between where there may be one
  std::uint32_t calls_ = 0;  // that the operation makes when none fails
};

// The lines of differences() between what is and each of the states that may be; empty when it is one of them.
std::string unlike_all(const Snapshot& is, const std::vector<Snapshot>& may_be);

}  // namespace varve::test
