#pragma once

// PlacedTree: a tree of files that a test reaches either natively or through a mount, so that the same
// function is checked on both, and the native run tells that the expectation itself is right. Fill
// seed(path), begin(), look at at(path); again() unmounts and mounts (nothing natively). Thread rule: one
// thread. Owned by the test.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {

enum class Place {
  kNative,          // a plain directory
  kDirectoryLower,  // the seed is a lower directory
  kLayerFileLower,  // the seed is a layer file
  kUpper,           // the seed was copied in through the mount
};

class PlacedTree {
 public:
  explicit PlacedTree(Place place);

  // Where to build what is there at the beginning.
  std::string seed(std::string_view path = {}) const;
  testing::AssertionResult begin();
  testing::AssertionResult again();
  std::string at(std::string_view path) const;
  std::string root() const;

 private:
  Place place_;
  std::unique_ptr<MountedStack> stack_;  // null natively
  std::unique_ptr<ScratchDirectory> native_;
};

// A suite that runs in every place: class Files : public EverywhereTest {}; VARVE_EVERYWHERE(Files);
// TEST_P(Files, ...).
class EverywhereTest : public testing::TestWithParam<Place> {
 protected:
  PlacedTree tree{GetParam()};
};

std::string place_name(const testing::TestParamInfo<Place>& info);

#define VARVE_EVERYWHERE(Suite)                                                                              \
  INSTANTIATE_TEST_SUITE_P(In, Suite,                                                                        \
                           testing::Values(varve::test::Place::kNative, varve::test::Place::kDirectoryLower, \
                                           varve::test::Place::kLayerFileLower, varve::test::Place::kUpper), \
                           varve::test::place_name)

}  // namespace varve::test
