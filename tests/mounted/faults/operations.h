#pragma once

// The tree that the fault tests start from, and the operations that they do to it: each kind of change of a name, an attribute or a
// file, to each kind of object that it treats otherwise. Thread rule: one thread.

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {

// Fills the two lowers.
void fill_lowers(const MountedStack& stack);
// Makes the upper from them, through the mount at `root`.
void fill_upper(const std::string& root);

struct Operation {
  std::string name;
  // The operation, below the mount at `root`. Returns: 0, or -1 with errno set by the call that failed.
  int (*run)(const std::string& root);
  // What is done before it, beyond fill_upper; null: nothing.
  void (*before)(const std::string& root) = nullptr;
  // Not one step, as documented: this makes the state that may show in between. Null: there is none.
  int (*between)(const std::string& root) = nullptr;
};
std::vector<Operation> all_operations();
inline void PrintTo(const Operation& operation, std::ostream* out) {
  *out << operation.name;
}
// Of a suite that runs all of them.
std::string operation_name(const testing::TestParamInfo<Operation>& info);

}  // namespace varve::test
