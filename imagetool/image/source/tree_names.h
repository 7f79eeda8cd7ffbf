#pragma once

// TreeNames: the names of one directory of a Tree, sorted by their bytes. Names that come in order, as a directory's or
// most archives' do, are appended to a flat table of about 12 bytes and the name each; others wait in a map and are
// merged in when there are many, so that a name costs O(log n) in whatever order they come. Thread rule: a plain value.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve::image {

// Index of a node of a Tree.
using TreeIndex = std::uint32_t;

class TreeNames {
 public:
  // Replaces what had the name. Requires: 1..255 bytes.
  void set(std::string_view name, TreeIndex node);
  // Null when there is no such name. Valid until the next set().
  const TreeIndex* find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name) != nullptr; }

  // Walks the names in byte order: both tables side by side. What it gives lives as long as the TreeNames is not changed.
  class Iterator {
   public:
    using Value = std::pair<std::string_view, TreeIndex>;
    Value operator*() const;
    Iterator& operator++();
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.flat_ == b.flat_ && a.late_ == b.late_;
    }

   private:
    friend class TreeNames;
    using Late = std::map<std::string, TreeIndex, std::less<>>;
    Iterator(const TreeNames& names, std::size_t flat, Late::const_iterator late)
        : names_(&names), flat_(flat), late_(late) {}
    bool late_is_next() const;

    const TreeNames* names_;
    std::size_t flat_;
    Late::const_iterator late_;
  };
  Iterator begin() const { return {*this, 0, late_.begin()}; }
  Iterator end() const { return {*this, flat_.size(), late_.end()}; }

 private:
  // 12 bytes.
  struct Entry {
    std::uint32_t offset_low = 0;  // of the name in text_
    std::uint8_t offset_high = 0;
    std::uint8_t size = 0;
    TreeIndex node = 0;
  };
  std::string_view name_of(const Entry& entry) const;
  static void append(std::vector<Entry>& to, std::string& text, std::string_view name, TreeIndex node);
  // The position of the first entry whose name is not less.
  std::size_t lower_bound(std::string_view name) const;
  void merge();

  std::vector<Entry> flat_;  // sorted
  std::string text_;
  // Names that came out of order: none is in flat_, each is less than the last of flat_.
  std::map<std::string, TreeIndex, std::less<>> late_;
};

}  // namespace varve::image
