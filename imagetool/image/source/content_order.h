#pragma once

// ContentOrder: the regular files of a tree that have content, in the order in which a layer holds them well. Thread
// rule: a plain value. Ownership: borrows the tree, whose names must not change meanwhile. Memory: 24 bytes a file;
// paths are put together when they are asked for.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "imagetool/image/source/tree.h"

namespace varve::image {

struct ContentFile {
  std::string path;  // from the root, without a leading '/'; of several names the first
  TreeIndex node = 0;
};

class ContentOrder {
 public:
  ContentOrder(const Tree& tree, std::uint64_t large_bytes);

  std::size_t size() const { return items_.size(); }
  // The position of the first of the files that share frames; size() when there is none.
  std::size_t first_small() const;
  // Puts those in another order: `order` tells which of them (counted from first_small()) comes first, which next, and so on.
  void reorder_small(std::span<const std::uint32_t> order);
  // Requires: `position` < size().
  ContentFile operator[](std::size_t position) const;

  class Iterator {
   public:
    Iterator(const ContentOrder& order, std::size_t position) : order_(&order), position_(position) {}
    ContentFile operator*() const { return (*order_)[position_]; }
    Iterator& operator++() {
      ++position_;
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.position_ == b.position_; }

   private:
    const ContentOrder* order_;
    std::size_t position_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, items_.size()}; }

 private:
  // 24 bytes. `rank`: position in a walk of the tree, so by path.
  struct Item {
    const char* name = nullptr;
    TreeIndex node = 0;
    TreeIndex directory = 0;
    std::uint32_t rank = 0;
    std::uint8_t name_size = 0;
    bool small = false;
    bool frequent = false;  // several files have this name

    std::string_view name_text() const { return {name, name_size}; }
  };
  struct Parent {
    TreeIndex directory = 0;
    std::string_view name;
  };
  static bool precedes(const Item& a, const Item& b);
  void mark_frequent_names();

  std::vector<Item> items_;
  std::unordered_map<TreeIndex, Parent> parents_;  // of directories
};

// Files of `large_bytes` and more by path. Then the smaller ones, which share frames, so that like lies beside like:
// by extension; within one, files whose name many have (copyright, package.json) side by side, the others by path.
inline ContentOrder files_in_layer_order(const Tree& tree, std::uint64_t large_bytes = 65536) {
  return ContentOrder(tree, large_bytes);
}

}  // namespace varve::image
