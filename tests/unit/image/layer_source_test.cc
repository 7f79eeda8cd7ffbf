// Layers made of layers, and layers that hold the difference between two trees: what a reader of the stack sees is the same.

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/layer_source.h"
#include "tests/unit/image/random_tree.h"
#include "tests/unit/image/scratch_directory.h"
#include "tests/unit/image/union_snapshot.h"

namespace varve::image {
namespace {

using ::testing::HasSubstr;
using Stack = std::vector<std::shared_ptr<layer::Layer>>;
using Paths = std::vector<std::string>;

class LayerSourceTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return scratch_ / name; }

  // Builds NAME over `parents`, the topmost first. Returns: its path.
  std::string build(TreeSource& source, const std::string& name, const Paths& parents,
                    bool difference = false) {
    std::unique_ptr<ParentFiles> files;
    if (!parents.empty()) files = must(ParentFiles::make(open(parents), {}));
    return build_over(source, name, files.get(), difference);
  }
  std::string build_over(TreeSource& source, const std::string& name, ParentFiles* parents, bool difference) {
    BuildOptions options;
    options.writer.output_path = at(name);
    options.writer.frame_bytes = 16384;
    options.writer.jobs = 1;
    options.parents = parents;
    options.difference = difference;
    must(build_layer(source, options, monitor_));
    return at(name);
  }
  // `layers` as one layer NAME over `parents`.
  std::string squash(const Paths& layers, const std::string& name, const Paths& parents, const Paths& bases,
                     bool flatten = false) {
    std::unique_ptr<ParentFiles> files;
    if (!parents.empty()) files = must(ParentFiles::make(open(parents), {}));
    const auto source = must(LayerSource::open(
        {.layers = layers, .bases = bases, .parents = files.get(), .flatten = flatten, .filter = {}},
        monitor_));
    return build_over(*source, name, files.get(), false);
  }
  // A layer with all directories that redirects of RandomTree may lead to, through those of two more layers.
  std::string build_directories(const std::string& name) const {
    const auto writer = must(LayerWriter::create({.output_path = at(name)}));
    InodeSpec spec;
    spec.attributes.mode = S_IFDIR | 0755;
    std::vector<std::uint32_t> level = {must(writer->add_inode(spec))};
    for (unsigned depth = 0; depth < 4; ++depth) {
      std::vector<std::uint32_t> next;
      for (const std::uint32_t directory : level) {
        for (const char* child : {"a", "b", "c", "d"}) {
          next.push_back(must(writer->add_inode(spec)));
          must(writer->add_name(directory, child, next.back()));
        }
      }
      level = std::move(next);
    }
    must(writer->finish());
    return at(name);
  }
  // A layer of one directory /new that continues `old` of the layers below.
  std::string build_redirect(const std::string& name, const std::string& old) const {
    const auto writer = must(LayerWriter::create({.output_path = at(name)}));
    InodeSpec directory;
    directory.attributes.mode = S_IFDIR | 0755;
    const std::uint32_t root = must(writer->add_inode(directory));
    directory.redirect = old;
    must(writer->add_name(root, "new", must(writer->add_inode(directory))));
    must(writer->finish());
    return at(name);
  }
  static Stack open(const Paths& paths) { return must(layer::open_stack(paths, {})); }
  static std::vector<std::string> shown(const Paths& paths, bool link_counts) {
    return snapshot_of_union(open(paths), link_counts);
  }
  static std::uint64_t files_of(const std::string& path) {
    return dynamic_cast<const layer::LayerFile&>(*open({path}).front()).tables().inodes.size() - 1;
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

Paths part_of(const Paths& paths, std::size_t first, std::size_t end) {
  return {paths.begin() + static_cast<std::ptrdiff_t>(first),
          paths.begin() + static_cast<std::ptrdiff_t>(end)};
}

// Stacks of five random layers, of which some in the middle become one, with what lies below as parents or not.
TEST_F(LayerSourceTest, SaysWhatItsLayersSaidTogether) {
  for (std::uint32_t seed = 1000; seed < 1050; ++seed) {
    std::mt19937 random(seed);
    const std::size_t first = random() % 4;
    const std::size_t end = first + 1 + random() % (5 - first);
    Paths stack(5);
    for (std::size_t i = 5; i-- > 0;) {
      RandomTree tree(random, true);
      // Those above cannot inherit from layers that are gone afterwards.
      const Paths parents = i < first ? Paths() : part_of(stack, i + 1, stack.size());
      stack[i] = build(tree, std::to_string(i), parents);
    }
    const Paths below = part_of(stack, end, stack.size());
    const bool keeps = random() % 2 == 0;
    const std::string squashed =
        squash(part_of(stack, first, end), "squashed", keeps ? below : Paths(), keeps ? Paths() : below);
    Paths result = part_of(stack, 0, first);
    result.push_back(squashed);
    result.insert(result.end(), below.begin(), below.end());
    ASSERT_EQ(shown(result, false), shown(stack, false)) << seed << ": " << first << " to " << end;
  }
}

TEST_F(LayerSourceTest, FlattenedHasNoMarks) {
  for (std::uint32_t seed = 1170; seed < 1190; ++seed) {
    std::mt19937 random(seed);
    Paths stack(4);
    stack[3] = build_directories("3");
    for (std::size_t i = 3; i-- > 0;) {
      RandomTree tree(random, true);
      stack[i] = build(tree, std::to_string(i), part_of(stack, i + 1, stack.size()));
    }
    const std::string flat = squash(stack, "flat", {}, {}, true);
    ASSERT_EQ(shown({flat}, false), shown(stack, false)) << seed;
    const auto layer = open({flat}).front();
    must(walk_layer(*layer, [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
      EXPECT_EQ(visit.entry.kind, layer::Entry::Kind::kObject) << visit.path;
      if (!S_ISDIR(visit.entry.type)) return true;
      const layer::DirectoryMark mark = *layer->directory_mark(visit.entry.id);
      EXPECT_FALSE(mark.opaque || mark.redirect) << visit.path;
      return true;
    }));
  }
}

TEST_F(LayerSourceTest, IsPutOnOtherParents) {
  for (std::uint32_t seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    RandomTree tree(random, false);
    const std::string old_base = build(tree, "old", {});
    tree.change(random);
    const std::string new_base = build(tree, "new", {});
    RandomTree changes(random, true);
    const std::string layer = build(changes, "layer", {old_base});
    const std::string alone = build(changes, "alone", {});  // the same without a parent
    const std::string moved = squash({layer}, "moved", {new_base}, {old_base});
    ASSERT_EQ(shown({moved, new_base}, false), shown({alone, new_base}, false)) << seed;
  }
}

TEST_F(LayerSourceTest, KeepsADeltaWithoutReadingItsBase) {
  std::mt19937 random(1);
  const auto write = [&](const std::string& directory, const std::string& bytes) {
    std::filesystem::create_directories(at(directory));
    write_file(at(directory) + "/f", bytes);
    return must(DirectorySource::open(at(directory), {}, monitor_));
  };
  std::string bytes(8 << 20, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  const std::string base = build(*write("base", bytes), "base.layer", {});
  bytes[1'000'000] ^= 1;
  const std::string one = build(*write("one", bytes), "one.layer", {base});
  bytes[5'000'000] ^= 1;
  const std::string two = build(*write("two", bytes), "two.layer", {one, base});
  const std::string both = squash({two, one}, "both.layer", {base}, {});
  EXPECT_EQ(shown({both, base}, true), shown({two, one, base}, true));
  EXPECT_LT(std::filesystem::file_size(both), 4 * 4096U);
  const auto whole = open({two, one, base}).front();
  const auto layer = open({both, base}).front();
  const auto blocks = [](const layer::Layer& of) {
    return of.attributes(must(find_in_layer(of, "f")))->blocks_512;
  };
  EXPECT_EQ(blocks(*layer), blocks(*whole));
}

TEST_F(LayerSourceTest, InheritsNothingFromABaseThatIsAllOverwritten) {
  const auto write = [&](const std::string& directory, const std::string& bytes) {
    std::filesystem::create_directories(at(directory));
    write_file(at(directory) + "/f", bytes);
    return must(DirectorySource::open(at(directory), {}, monitor_));
  };
  std::string bytes(16 * 4096, 'a');
  const std::string base = build(*write("base", bytes), "base.layer", {});
  bytes.replace(0, bytes.size() / 2, bytes.size() / 2, 'b');
  const std::string one = build(*write("one", bytes), "one.layer", {base});
  bytes.replace(bytes.size() / 2, bytes.size() / 2, bytes.size() / 2, 'c');
  const std::string two = build(*write("two", bytes), "two.layer", {one, base});
  const std::string both = squash({two, one}, "both.layer", {base}, {});
  EXPECT_EQ(shown({both, base}, true), shown({two, one, base}, true));
  const auto alone = must(layer::LayerFile::open(both, {}));
  EXPECT_TRUE(alone->has_all_parents(must(find_in_layer(*alone, "f"))));
}

TEST_F(LayerSourceTest, SaysWhichLayerIsMissing) {
  std::mt19937 random(1);
  RandomTree tree(random, false);
  const std::string base = build(tree, "base", {});
  const std::string top = build(tree, "top", {base});
  const auto source = must(LayerSource::open({.layers = {top}, .bases = {}, .filter = {}}, monitor_));
  const auto scanned = source->scan();
  ASSERT_FALSE(scanned.ok());
  EXPECT_EQ(scanned.error().error_number, ENOENT);
  EXPECT_THAT(scanned.error().message, HasSubstr(open({base}).front()->identity().value +
                                                 ", which is not below it here (name its file"));
}

// A flat layer would have an empty directory in its place.
TEST_F(LayerSourceTest, FlattenedMissesWhatARedirectContinues) {
  std::filesystem::create_directories(at("tree/old/sub"));
  write_file(at("tree/old/sub/f"), "content");
  const std::string base = build(*must(DirectorySource::open(at("tree"), {}, monitor_)), "base", {});
  const std::string moved = build_redirect("moved", "/old/sub");
  const auto scan = [&](const Paths& layers, PathFilter filter) {
    return must(LayerSource::open(
                    {.layers = layers, .bases = {}, .flatten = true, .filter = std::move(filter)}, monitor_))
        ->scan();
  };
  const auto missing = scan({moved}, {});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().error_number, ENOENT);
  EXPECT_THAT(missing.error().message, HasSubstr("/moved: /new: continues /old/sub of the layers below"));
  EXPECT_FALSE(scan({build_redirect("again", "/new"), moved}, {}).ok())
      << "the lower one of two is missed too";
  EXPECT_TRUE(scan({moved}, PathFilter({"new"})).ok());
  EXPECT_TRUE(scan({moved, base}, {}).ok());
  EXPECT_EQ(shown({squash({moved, base}, "flat", {}, {}, true)}, false), shown({moved, base}, false));
}

TEST_F(LayerSourceTest, LeavesOutWhatIsExcluded) {
  std::mt19937 random(3);
  RandomTree tree(random, false);
  const std::string layer = build(tree, "layer", {});
  const auto source =
      must(LayerSource::open({.layers = {layer}, .bases = {}, .filter = PathFilter({"a"})}, monitor_));
  for (const std::string& line : shown({build(*source, "less", {})}, false)) {
    EXPECT_EQ((line.substr(0, line.find(' ')) + "/").find("/a/"), std::string::npos) << line;
  }
}

TEST_F(LayerSourceTest, DifferenceOverItsParentIsTheWholeTree) {
  for (std::uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    RandomTree tree(random, false);
    const std::string base = build(tree, "base", {});
    tree.change(random);
    const std::string whole = build(tree, "whole", {});
    const std::string top = build(tree, "top", {base}, true);
    ASSERT_EQ(shown({top, base}, true), shown({whole}, true)) << seed;
  }
}

TEST_F(LayerSourceTest, DifferenceIsTakenOfWholeStacks) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    Paths stack(4);
    stack[3] = build_directories("3");
    for (std::size_t i = 3; i-- > 0;) {
      RandomTree tree(random, true);
      stack[i] = build(tree, std::to_string(i), part_of(stack, i + 1, stack.size()));
    }
    RandomTree tree(random, false);
    const std::string whole = build(tree, "whole", {});
    const std::string top = build(tree, "top", stack, true);
    Paths result = stack;
    result.insert(result.begin(), top);
    ASSERT_EQ(shown(result, true), shown({whole}, true)) << seed;
    // And of layers that are the same tree.
    const auto source = must(LayerSource::open(
        {.layers = result, .bases = {}, .keep_deltas = false, .flatten = true, .filter = {}}, monitor_));
    EXPECT_EQ(files_of(build(*source, "nothing", {whole}, true)), 1U) << seed;
  }
}

TEST_F(LayerSourceTest, DifferenceIsTakenOfDirectories) {
  std::filesystem::create_directories(at("base/d/e"));
  std::filesystem::create_directories(at("base/equal"));
  for (const char* name : {"base/equal/f", "base/d/changed", "base/d/gone", "base/d/e/f"}) {
    write_file(at(name), "content of a file");
  }
  std::filesystem::create_hard_link(at("base/d/changed"), at("base/d/e/linked"));
  ASSERT_EQ(std::system(("cp --archive " + at("base") + " " + at("new")).c_str()), 0);
  write_file(at("new/d/changed"), "content of b file");
  std::filesystem::remove(at("new/d/gone"));
  const auto source = must(DirectorySource::open(at("new"), {}, monitor_));
  const std::string top = build(*source, "top", {at("base")}, true);
  const std::string whole = build(*must(DirectorySource::open(at("new"), {}, monitor_)), "whole", {});
  EXPECT_EQ(shown({top, at("base")}, true), shown({whole}, true));
  EXPECT_EQ(files_of(top), 4U);  // the root, d, d/e, and the file with two names
}

TEST_F(LayerSourceTest, DifferenceOfEqualTreesIsEmpty) {
  std::mt19937 random(7);
  RandomTree tree(random, false);
  const std::string base = build(tree, "base", {});
  const std::string top = build(tree, "top", {base}, true);
  EXPECT_EQ(files_of(top), 1U);
  EXPECT_LT(std::filesystem::file_size(top), 1500U);
}

}  // namespace
}  // namespace varve::image
