#include "imagetool/image/source/content_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <map>

namespace varve::image {
namespace {

using testing::ElementsAre;

InodeSpec spec(std::uint32_t mode, std::uint64_t size_bytes = 0) {
  InodeSpec made;
  made.attributes.mode = mode;
  made.attributes.size_bytes = size_bytes;
  return made;
}

class ContentOrderTest : public testing::Test {
 protected:
  TreeIndex directory(TreeIndex parent, std::string_view name) {
    const TreeIndex node = tree_.add(spec(S_IFDIR | 0755));
    tree_.set_name(parent, name, node);
    return node;
  }
  TreeIndex file(TreeIndex parent, std::string_view name, std::uint64_t size_bytes = 10) {
    const TreeIndex node = tree_.add(spec(S_IFREG | 0644, size_bytes));
    tree_.set_name(parent, name, node);
    return node;
  }
  std::vector<std::string> paths() const {
    std::vector<std::string> found;
    for (const ContentFile file : files_in_layer_order(tree_)) found.push_back(file.path);
    return found;
  }
  Tree tree_{spec(S_IFDIR | 0755)};
};

TEST_F(ContentOrderTest, HasLargeFilesByPathThenSmallOnesByExtension) {
  const TreeIndex sub = directory(kTreeRoot, "sub");
  file(kTreeRoot, "z.large", 65536);
  file(sub, "a.large", 1 << 20);
  file(kTreeRoot, "b.py");
  file(sub, "a.py");
  file(kTreeRoot, "c.html", 65535);
  file(kTreeRoot, ".profile");
  EXPECT_THAT(paths(), ElementsAre("sub/a.large", "z.large", ".profile", "c.html", "b.py", "sub/a.py"));
}

TEST_F(ContentOrderTest, PutsFilesSideBySideWhoseNameManyHave) {
  for (const char* package : {"a", "b", "c", "d"}) {
    const TreeIndex one = directory(kTreeRoot, package);
    file(one, "package.json");
    file(one, std::string("only-in-") + package + ".json");
  }
  EXPECT_THAT(paths(),
              ElementsAre("a/only-in-a.json", "b/only-in-b.json", "c/only-in-c.json", "d/only-in-d.json",
                          "a/package.json", "b/package.json", "c/package.json", "d/package.json"));
}

TEST_F(ContentOrderTest, LeavesOutWhatHasNoContentAndFurtherNames) {
  const TreeIndex linked = file(kTreeRoot, "b");
  tree_.set_name(kTreeRoot, "a", linked);
  file(kTreeRoot, "empty", 0);
  tree_.set_whiteout(kTreeRoot, "gone");
  tree_.set_name(kTreeRoot, "device", tree_.add(spec(S_IFCHR | 0600)));
  EXPECT_THAT(paths(), ElementsAre("a"));
}

TEST_F(ContentOrderTest, NeedsOnlySizes) {
  const TreeIndex sub = directory(kTreeRoot, "sub");
  const TreeIndex large = file(sub, "large", 70'000);
  file(kTreeRoot, "small", 7);
  const std::vector<std::string> before = paths();
  tree_.keep_only_sizes();
  EXPECT_EQ(paths(), before);
  EXPECT_EQ(tree_.size_bytes(large), 70'000U);
  EXPECT_EQ(tree_.size_bytes(sub), 0U);
  EXPECT_TRUE(tree_.is_directory(sub));
}

TEST(TreeNames, AreSortedInWhateverOrderTheyCome) {
  TreeNames names;
  std::map<std::string, TreeIndex> model;
  std::uint32_t state = 1;
  for (TreeIndex i = 0; i < 5000; ++i) {
    state = state * 1664525 + 1013904223;
    const std::string name = std::to_string(state >> 20);  // some come several times
    names.set(name, i);
    model.insert_or_assign(name, i);
  }
  auto expected = model.begin();
  for (const auto [name, node] : names) {
    ASSERT_NE(expected, model.end());
    ASSERT_EQ(name, expected->first);
    ASSERT_EQ(node, expected->second);
    ++expected;
  }
  EXPECT_EQ(expected, model.end());
  for (const auto& [name, node] : model) ASSERT_EQ(*names.find(name), node);
  EXPECT_FALSE(names.contains("absent"));
}

TEST(Tree, GivesBackWhatItWasGiven) {
  InodeSpec given = spec(S_IFREG | 04755, 1234);
  given.attributes.uid = 1;
  given.attributes.gid = 2;
  given.attributes.mtime = {-3, 4};
  given.xattrs = {{"user.a", "b"}};
  Tree tree(spec(S_IFDIR | 0700));
  const TreeIndex file = tree.add(given);
  InodeSpec device = spec(S_IFBLK | 0600);
  device.attributes.rdev = makedev(8, 300);
  const TreeIndex block = tree.add(device);
  InodeSpec moved = spec(S_IFDIR | 0755);
  moved.redirect = "/from";
  const TreeIndex directory = tree.add(moved);
  tree.set_opaque(directory);
  tree.set_source_key(file, 99);

  const Tree::Node back = tree.node(file);
  EXPECT_EQ(back.spec.attributes.mode, given.attributes.mode);
  EXPECT_EQ(back.spec.attributes.size_bytes, 1234U);
  EXPECT_EQ(back.spec.attributes.uid, 1U);
  EXPECT_EQ(back.spec.attributes.gid, 2U);
  EXPECT_EQ(back.spec.attributes.mtime, given.attributes.mtime);
  EXPECT_EQ(back.spec.xattrs, given.xattrs);
  EXPECT_EQ(back.source_key, 99U);
  EXPECT_EQ(tree.node(block).spec.attributes.rdev, makedev(8, 300));
  EXPECT_EQ(tree.size_bytes(block), 0U);
  EXPECT_EQ(tree.node(directory).spec.redirect, "/from");
  EXPECT_TRUE(tree.node(directory).spec.opaque);
  EXPECT_FALSE(tree.node(kTreeRoot).spec.opaque);
}

}  // namespace
}  // namespace varve::image
