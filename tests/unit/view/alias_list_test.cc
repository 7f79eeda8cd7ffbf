#include "fs/view/alias_list.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/view/node_table.h"

namespace varve::view {
namespace {

class AliasListTest : public testing::Test {
 protected:
  void add(const std::string& name) { list_.add(Alias{parent_, name}); }
  void remove(const std::string& name) {
    list_.remove_if([&](const Alias& alias) { return alias.name == name; });
  }
  std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const Alias& alias : list_) all.push_back(alias.name);
    return all;
  }

  NodeTable table_;
  NodePtr parent_ = table_.find_or_make(1, S_IFDIR, [](Node&) {});
  AliasList list_;
};

using Names = std::vector<std::string>;

TEST_F(AliasListTest, IsEmptyAtFirst) {
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(names(), Names());
  remove("a");
  EXPECT_TRUE(list_.empty());
}

TEST_F(AliasListTest, KeepsTheOrderOfNames) {
  add("a");
  EXPECT_EQ(names(), Names({"a"}));
  add("b");
  add("c");
  EXPECT_EQ(names(), Names({"a", "b", "c"}));
  EXPECT_EQ(list_.size(), 3U);
  EXPECT_EQ(list_.front().name, "a");
}

TEST_F(AliasListTest, HasTheNextNameInFrontWhenTheFirstGoes) {
  add("a");
  add("b");
  add("c");
  remove("a");
  EXPECT_EQ(names(), Names({"b", "c"}));
  remove("c");
  EXPECT_EQ(names(), Names({"b"}));
  remove("b");
  EXPECT_TRUE(list_.empty());
  add("d");
  EXPECT_EQ(names(), Names({"d"}));
}

TEST_F(AliasListTest, RemovesAllThatFit) {
  for (const char* name : {"a", "b", "c", "d"}) add(name);
  list_.remove_if([](const Alias& alias) { return alias.name != "c"; });
  EXPECT_EQ(names(), Names({"c"}));
  add("e");
  list_.clear();
  EXPECT_TRUE(list_.empty());
  EXPECT_EQ(list_.size(), 0U);
}

TEST_F(AliasListTest, HoldsTheParentAsLongAsTheName) {
  add("a");
  parent_ = nullptr;
  EXPECT_NE(table_.find_by_inode(1), nullptr);
  list_.clear();
  EXPECT_EQ(table_.find_by_inode(1), nullptr);
}

}  // namespace
}  // namespace varve::view
