#include "tests/support/mounted/placed_tree.h"

namespace varve::test {

PlacedTree::PlacedTree(Place place) : place_(place) {
  if (place == Place::kNative) {
    native_ = std::make_unique<ScratchDirectory>();
  } else {
    stack_ = std::make_unique<MountedStack>(
        StackShape{.lowers = 1, .layer_files = place == Place::kLayerFileLower});
    if (place == Place::kUpper) native_ = std::make_unique<ScratchDirectory>();
  }
}

std::string PlacedTree::seed(std::string_view path) const {
  std::string directory = native_ ? native_->path() : stack_->lower(0);
  return path.empty() ? directory : directory + "/" + std::string(path);
}

testing::AssertionResult PlacedTree::begin() {
  if (!stack_) return testing::AssertionSuccess();
  if (testing::AssertionResult mounted = stack_->mount(); !mounted) return mounted;
  if (place_ != Place::kUpper) return testing::AssertionSuccess();
  ProgramResult copied = run({"cp", "--archive", "--sparse=always", seed() + "/.", root()});
  if (copied.exit_status != 0) return testing::AssertionFailure() << "copying the seed: " << copied.err;
  return testing::AssertionSuccess();
}

testing::AssertionResult PlacedTree::again() {
  return stack_ ? stack_->remount() : testing::AssertionSuccess();
}

std::string PlacedTree::root() const {
  return stack_ ? stack_->mount_point() : native_->path();
}
std::string PlacedTree::at(std::string_view path) const {
  return root() + "/" + std::string(path);
}

std::string place_name(const testing::TestParamInfo<Place>& info) {
  switch (info.param) {
    case Place::kNative:
      return "Native";
    case Place::kDirectoryLower:
      return "DirectoryLower";
    case Place::kLayerFileLower:
      return "LayerFileLower";
    case Place::kUpper:
      return "Upper";
  }
  return "";
}

}  // namespace varve::test
