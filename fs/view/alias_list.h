#pragma once

// AliasList: the names of a node. Nearly every node has one, which lies in the node itself; only hard links allocate.
// Thread rule: none of its own.

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/view/node_ptr.h"

namespace varve::view {

// One name of a node.
struct Alias {
  NodePtr parent;  // never null in a list
  std::string name;
  bool in_upper =
      false;  // the upper directory of `parent` holds this very name (not so: it shows from a layer)
};

class AliasList {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Alias;
    using difference_type = std::ptrdiff_t;
    using pointer = Alias*;
    using reference = Alias&;
    Iterator() = default;
    Iterator(AliasList* list, std::size_t index) : list_(list), index_(index) {}
    Alias& operator*() const { return list_->at(index_); }
    Alias* operator->() const { return &**this; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) { return std::exchange(*this, Iterator(list_, index_ + 1)); }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    AliasList* list_ = nullptr;
    std::size_t index_ = 0;
  };

  bool empty() const { return first_.parent == nullptr; }
  std::size_t size() const { return empty() ? 0 : 1 + (others_ == nullptr ? 0 : others_->size()); }
  Iterator begin() { return {this, 0}; }
  Iterator end() { return {this, size()}; }
  // Requires: not empty().
  Alias& front() { return first_; }

  void add(Alias alias) {
    if (empty()) {
      first_ = std::move(alias);
      return;
    }
    if (others_ == nullptr) others_ = std::make_unique<std::vector<Alias>>();
    others_->push_back(std::move(alias));
  }
  // The rest keep their order.
  template <class Predicate>
  void remove_if(const Predicate& is_gone) {
    if (empty()) return;
    if (others_ != nullptr) std::erase_if(*others_, is_gone);
    if (is_gone(std::as_const(first_))) {
      first_ = Alias();
      if (others_ != nullptr && !others_->empty()) {
        first_ = std::move(others_->front());
        others_->erase(others_->begin());
      }
    }
    if (others_ != nullptr && others_->empty()) others_.reset();
  }
  void clear() { *this = AliasList(); }

 private:
  Alias& at(std::size_t index) { return index == 0 ? first_ : (*others_)[index - 1]; }

  Alias first_;
  std::unique_ptr<std::vector<Alias>> others_;  // null: there are none
};

}  // namespace varve::view
