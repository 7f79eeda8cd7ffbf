// What two stacks show differently: each kind of change by itself, and none between a stack and its squash.

#include "imagetool/image/union_difference.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/layer_source.h"
#include "tests/unit/image/random_tree.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Paths = std::vector<std::string>;

class UnionDifferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(at("before/d/e"));
    for (const char* name : {"before/file", "before/d/one", "before/d/two", "before/d/e/deep"}) {
      write_file(at(name), "content of a file");
    }
    std::filesystem::create_symlink("one", at("before/d/link"));
    ASSERT_EQ(std::system(("cp --archive " + at("before") + " " + at("after")).c_str()), 0);
  }
  std::string at(const std::string& name) const { return scratch_ / name; }
  std::string build(TreeSource& source, const std::string& name, const Paths& parents,
                    bool is_whole = false) {
    std::unique_ptr<ParentFiles> files;
    if (!parents.empty()) files = must(ParentFiles::make(must(layer::open_stack(parents, {})), {}));
    BuildOptions options;
    options.writer.output_path = at(name);
    options.writer.jobs = 1;
    options.parents = files.get();
    options.difference = is_whole && files != nullptr;
    must(build_layer(source, options, monitor_));
    return at(name);
  }
  // "C /d/one 17 20 content,attributes,xattrs", what is false left out.
  static std::vector<std::string> difference(const Paths& before, const Paths& after) {
    std::vector<std::string> lines;
    must(compare_unions(LayerUnion(must(layer::open_stack(before, {}))),
                        LayerUnion(must(layer::open_stack(after, {}))), [&](const PathChange& change) {
                          std::string of = change.content ? "content," : "";
                          if (change.attributes) of += "attributes,";
                          if (change.xattrs) of += "xattrs,";
                          lines.push_back(fmt::format("{} {} {} {} {}", "ACD"[static_cast<int>(change.kind)],
                                                      change.path, change.bytes_before, change.bytes_after,
                                                      of));
                        }));
    return lines;
  }
  // Between the two directories, which layers made of them must show as well.
  std::vector<std::string> difference() {
    const std::vector<std::string> of_directories = difference({at("before")}, {at("after")});
    const std::string before =
        build(*must(DirectorySource::open(at("before"), {}, monitor_)), "before.layer", {});
    const std::string after =
        build(*must(DirectorySource::open(at("after"), {}, monitor_)), "after.layer", {before}, true);
    EXPECT_EQ(difference({before}, {after, before}), of_directories);
    return of_directories;
  }
  void keep_time(const std::string& name) {
    std::filesystem::last_write_time(at("after/" + name),
                                     std::filesystem::last_write_time(at("before/" + name)));
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

TEST_F(UnionDifferenceTest, EqualTreesHaveNone) {
  EXPECT_THAT(difference(), IsEmpty());
}

TEST_F(UnionDifferenceTest, EachKindOfChangeIsToldWithItsSizes) {
  write_file(at("after/d/one"), "longer content of it");
  keep_time("d/one");
  write_file(at("after/file"), "content of b file");
  keep_time("file");
  ASSERT_EQ(::chmod(at("after/d/two").c_str(), 0600), 0);
  ASSERT_EQ(::chmod(at("after/d").c_str(), 0700), 0);
  std::filesystem::remove(at("after/d/link"));
  std::filesystem::create_symlink("two", at("after/d/link"));
  std::filesystem::last_write_time(at("after/d/e"), {});
  EXPECT_THAT(difference(),
              ElementsAre("C /d 0 0 attributes,", "C /d/link 0 0 content,attributes,",
                          "C /d/one 17 20 content,", "C /d/two 17 17 attributes,", "C /file 17 17 content,"));
}

TEST_F(UnionDifferenceTest, WholeTreesComeAndGoNameByName) {
  std::filesystem::remove_all(at("after/d/e"));
  std::filesystem::create_directories(at("after/n/m"));
  write_file(at("after/n/m/new"), "12345");
  EXPECT_THAT(difference(),
              ElementsAre("D /d/e 0 0 ", "D /d/e/deep 17 0 ", "A /n 0 0 ", "A /n/m 0 0 ", "A /n/m/new 0 5 "));
}

TEST_F(UnionDifferenceTest, AnotherTypeIsAnotherContent) {
  std::filesystem::remove_all(at("after/d/e"));
  write_file(at("after/d/e"), "now a file");
  EXPECT_THAT(difference(), ElementsAre("C /d/e 0 10 content,attributes,", "D /d/e/deep 17 0 "));
}

TEST_F(UnionDifferenceTest, ExtendedAttributesCount) {
  if (::setxattr(at("after/file").c_str(), "user.a", "1", 1, 0) != 0)
    GTEST_SKIP() << "needs a file system with extended attributes of users";
  EXPECT_THAT(difference(), ElementsAre("C /file 17 17 xattrs,"));
}

TEST_F(UnionDifferenceTest, ASquashShowsWhatItsLayersShow) {
  for (std::uint32_t seed = 2000; seed < 2030; ++seed) {
    std::mt19937 random(seed);
    Paths stack;
    for (std::size_t i = 0; i < 4; ++i) {
      RandomTree tree(random, i > 0);
      stack.insert(stack.begin(), build(tree, fmt::format("{}-{}", seed, i), stack));
    }
    // What redirects lead to may be absent: then there is nothing to flatten, and that is told.
    auto source = must(LayerSource::open(
        {.layers = {stack[0], stack[1]}, .bases = {stack[2], stack[3]}, .filter = {}}, monitor_));
    const std::string squashed = build(*source, fmt::format("{}-squashed", seed), {});
    EXPECT_THAT(difference(stack, {squashed, stack[2], stack[3]}), IsEmpty()) << seed;
  }
}

}  // namespace
}  // namespace varve::image
