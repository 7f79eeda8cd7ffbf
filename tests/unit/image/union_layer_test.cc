// Layers of a stack as one layer: what a reader sees is the same.

#include "imagetool/image/union_layer.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_walk.h"
#include "tests/unit/image/random_tree.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/union_snapshot.h"

namespace varve::image {
namespace {

using Stack = std::vector<std::shared_ptr<layer::Layer>>;

class UnionLayerTest : public ::testing::Test {
 protected:
  // Five random layers, with deltas, whiteouts, opaque and redirected directories; the topmost first.
  Stack random_stack(std::uint32_t seed) {
    std::mt19937 random(seed);
    Stack stack;
    std::vector<std::string> paths;
    for (int i = 0; i < 5; ++i) {
      RandomTree tree(random, true);
      const auto parents = stack.empty() ? nullptr : must(ParentFiles::make(stack, {}));
      BuildOptions options;
      options.writer.output_path = scratch_ / (std::to_string(seed) + "." + std::to_string(i));
      options.writer.jobs = 1;
      options.parents = parents.get();
      must(build_layer(tree, options, monitor_));
      paths.insert(paths.begin(), options.writer.output_path);
      stack = must(layer::open_stack(paths, {}));
    }
    return stack;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

Stack from(const Stack& stack, std::size_t first) {
  return {stack.begin() + static_cast<std::ptrdiff_t>(first), stack.end()};
}

TEST_F(UnionLayerTest, AllOfAStackIsWhatItsLayersShowTogether) {
  for (std::uint32_t seed = 2000; seed < 2020; ++seed) {
    const Stack stack = random_stack(seed);
    const std::shared_ptr<UnionLayer> all = must(UnionLayer::make(stack, UnionLayer::Shows::kAll));
    ASSERT_EQ(snapshot_of_union({all}, false), snapshot_of_union(stack, false)) << seed;
    must(walk_layer(*all, [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
      EXPECT_EQ(visit.entry.kind, layer::Entry::Kind::kObject) << visit.path;
      if (!S_ISDIR(visit.entry.type)) return true;
      const layer::DirectoryMark mark = *all->directory_mark(visit.entry.id);
      EXPECT_FALSE(mark.opaque || mark.redirect) << visit.path;
      return true;
    }));
  }
}

TEST_F(UnionLayerTest, TopmostOfEachWithoutRedirectsIsTheSameStack) {
  std::size_t redirects = 0;
  for (std::uint32_t seed = 2020; seed < 2040; ++seed) {
    const Stack stack = random_stack(seed);
    Stack plain;
    for (std::size_t i = 0; i < stack.size(); ++i) {
      plain.push_back(must(UnionLayer::make(from(stack, i), UnionLayer::Shows::kTopmost)));
      must(walk_layer(*stack[i], [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
        if (S_ISDIR(visit.entry.type) && stack[i]->directory_mark(visit.entry.id)->redirect) ++redirects;
        return true;
      }));
      must(walk_layer(*plain[i], [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
        EXPECT_FALSE(S_ISDIR(visit.entry.type) && plain[i]->directory_mark(visit.entry.id)->redirect);
        return true;
      }));
    }
    ASSERT_EQ(snapshot_of_union(plain, false), snapshot_of_union(stack, false)) << seed;
  }
  EXPECT_GT(redirects, 10U);
}

}  // namespace
}  // namespace varve::image
