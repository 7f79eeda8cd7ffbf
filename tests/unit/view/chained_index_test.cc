#include "fs/view/chained_index.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace varve::view {
namespace {

struct Item {
  std::uint64_t number = 0;
  Item* next = nullptr;
};

std::uint64_t number_of(const Item& item) {
  return item.number;
}

using Index = ChainedIndex<Item, &Item::next, number_of>;

TEST(ChainedIndex, FindsEachOfManyByItsNumber) {
  // As inode numbers are: runs, the same ones in several layers, and some far apart.
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t slot = 0; slot < 20; ++slot) {
    for (std::uint64_t i = 0; i < 500; ++i) numbers.push_back(slot << 40 | i);
  }
  for (std::uint64_t i = 1; i < 500; ++i) numbers.push_back(i << 20 | 1 << 19);
  std::vector<Item> items(numbers.size());
  Index index;
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].number = numbers[i];
    index.add(items[i]);
  }
  EXPECT_EQ(index.size(), items.size());
  for (Item& item : items) EXPECT_EQ(index.find(item.number), &item);
  EXPECT_EQ(index.find(std::uint64_t{21} << 40), nullptr);
}

TEST(ChainedIndex, RemovesOneAndKeepsTheRest) {
  std::vector<Item> items(1000);
  Index index;
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i].number = i << 30;
    index.add(items[i]);
  }
  for (std::size_t i = 0; i < items.size(); i += 2) EXPECT_TRUE(index.remove(items[i]));
  EXPECT_EQ(index.size(), 500U);
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(index.find(i << 30), i % 2 == 0 ? nullptr : &items[i]);
  }
}

TEST(ChainedIndex, RemovesAnObjectAndNotAnotherWithItsNumber) {
  Item in{.number = 7};
  Item out{.number = 7};
  Index index;
  index.add(in);
  EXPECT_FALSE(index.remove(out));
  EXPECT_EQ(index.find(7), &in);
}

TEST(ChainedIndex, GivesAllOfThemToWhoeverTakesThem) {
  Index index;
  for (std::uint64_t i = 0; i < 1000; ++i) index.add(*new Item{.number = i});
  std::uint64_t sum = 0;
  index.remove_all([&](Item& item) {
    sum += item.number;
    delete &item;
  });
  EXPECT_EQ(sum, 999U * 1000U / 2);
  EXPECT_EQ(index.size(), 0U);
  EXPECT_EQ(index.find(5), nullptr);
}

}  // namespace
}  // namespace varve::view
