#pragma once

// ChainedIndex: objects by a number that each carries, as a hash table whose chains run through the objects, so that an
// entry costs a pointer in the object and one to two in the table, and no allocation.
// Thread rule: none of its own.
// Ownership: borrows its objects: they must be removed before they die.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace varve::view {

// `kNext`: the member that this index alone uses. `kNumberOf`: must not change while the object is in the index.
template <class T, T* T::*kNext, std::uint64_t (*kNumberOf)(const T&)>
class ChainedIndex {
 public:
  ChainedIndex() : buckets_(std::size_t{1} << bits_) {}
  ChainedIndex(const ChainedIndex&) = delete;
  ChainedIndex& operator=(const ChainedIndex&) = delete;

  std::size_t size() const { return size_; }

  // Null when there is none.
  T* find(std::uint64_t number) const {
    T* at = buckets_[bucket_of(number)];
    while (at != nullptr && kNumberOf(*at) != number) at = at->*kNext;
    return at;
  }

  // Requires: nothing with its number is in the index.
  void add(T& object) {
    if (size_ == buckets_.size()) grow();
    push(object);
    ++size_;
  }

  // Returns: false when it was not there.
  bool remove(T& object) {
    T** link = &buckets_[bucket_of(kNumberOf(object))];
    while (*link != nullptr && *link != &object) link = &((*link)->*kNext);
    if (*link == nullptr) return false;
    *link = object.*kNext;
    object.*kNext = nullptr;
    --size_;
    return true;
  }

  void swap(ChainedIndex& other) noexcept {
    std::swap(bits_, other.bits_);
    std::swap(size_, other.size_);
    buckets_.swap(other.buckets_);
  }

  // Takes all objects out and gives each to `take`, which may destroy it but not use the index.
  template <class Take>
  void remove_all(const Take& take) {
    size_ = 0;
    for (T*& bucket : buckets_) {
      while (bucket != nullptr) {
        T& object = *bucket;
        bucket = object.*kNext;
        object.*kNext = nullptr;
        take(object);
      }
    }
  }

 private:
  // Numbers come in runs, of which 64 stay together in memory. Runs are spread by multiplication with 2^64 / the golden
  // ratio (Knuth, The Art of Computer Programming 3, 6.4), whose highest bits are the good ones.
  static constexpr unsigned kRunBits = 6;
  std::size_t bucket_of(std::uint64_t number) const {
    const std::uint64_t run = ((number >> kRunBits) * 0x9E3779B97F4A7C15U) >> (64 - (bits_ - kRunBits));
    return run << kRunBits | (number & ((1U << kRunBits) - 1));
  }
  void push(T& object) {
    T*& bucket = buckets_[bucket_of(kNumberOf(object))];
    object.*kNext = bucket;
    bucket = &object;
  }
  void grow() {
    std::vector<T*> old(buckets_.size() * 2);
    old.swap(buckets_);
    ++bits_;
    for (T* at : old) {
      while (at != nullptr) {
        T& object = *at;
        at = object.*kNext;
        push(object);
      }
    }
  }

  unsigned bits_ = kRunBits + 1;
  std::size_t size_ = 0;
  std::vector<T*> buckets_;
};

}  // namespace varve::view
