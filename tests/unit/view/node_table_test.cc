#include "fs/view/node_table.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace varve::view {
namespace {

NodePtr make(NodeTable& table, std::uint64_t inode_number, std::uint32_t type = S_IFREG) {
  return table.find_or_make(inode_number, type, [](Node&) {});
}

// A million files that the kernel knows are a million nodes. Their names and what puts them into the table is part of that.
TEST(Node, OfAFileInALayerIsSmall) {
  EXPECT_LE(sizeof(Node), 168U);
}

TEST(NodeTable, FindsOneNodeByBothNumbers) {
  NodeTable table;
  const NodePtr node = make(table, 77);
  table.reference(node);
  EXPECT_EQ(make(table, 77), node);
  EXPECT_EQ(table.find(node->id()), node);
  EXPECT_EQ(table.find_by_inode(77), node);
  EXPECT_EQ(table.find(NodeId(12345)), nullptr);
}

TEST(NodeTable, GivesUpWhatTheKernelForgetsAndNobodyHolds) {
  NodeTable table;
  auto held = std::make_shared<OpenData>(OpenData::View{}, nullptr);
  const std::weak_ptr<OpenData> watched = held;
  NodePtr node = table.find_or_make(
      77, S_IFREG, [&](Node& made) NO_THREAD_SAFETY_ANALYSIS { made.data = std::move(held); });
  const NodeId id = node->id();
  table.reference(node);
  table.reference(node);
  node.reset();
  table.forget(id, 1);
  EXPECT_FALSE(watched.expired());
  table.forget(id, 1);
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.find_by_inode(77), nullptr);
}

TEST(NodeTable, RevivesWhatAHandleStillHolds) {
  NodeTable table;
  const NodePtr held = make(table, 77);
  table.reference(held);
  table.forget(held->id(), 1);
  EXPECT_EQ(table.find(held->id()), nullptr);
  EXPECT_EQ(make(table, 77), held);
}

TEST(NodeTable, NeverGivesANumberTwice) {
  NodeTable table;
  const NodeId first = make(table, 77)->id();
  EXPECT_EQ(table.find_by_inode(77), nullptr) << "nobody holds it";
  EXPECT_NE(make(table, 77)->id(), first);
}

// What is about to die must not be found again, and what takes its place must not go with it.
TEST(NodeTable, MakesOneNodeAtATimeWhileOthersDie) {
  NodeTable table;
  std::atomic<int> others{0};
  const auto make_and_drop = [&] {
    for (int i = 0; i < 20'000; ++i) {
      const NodePtr node = table.find_or_make(77, S_IFREG, [](Node&) {});
      table.reference(node);
      if (table.find_by_inode(77) != node) ++others;
      table.forget(node->id(), 1);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(make_and_drop);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(others, 0) << "two nodes for one number";
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.find_by_inode(77), nullptr);
}

TEST(NodeTable, MakesAnotherNodeWhereTheTypeChanged) {
  NodeTable table;
  const NodePtr file = make(table, 77);
  const NodePtr directory = make(table, 77, S_IFDIR);
  EXPECT_NE(directory, file);
  EXPECT_TRUE(directory->is_directory());
  EXPECT_EQ(table.find_by_inode(77), directory);
}

}  // namespace
}  // namespace varve::view
