#pragma once

// BlockBitmap: one bit for each 4 KiB block of a file. A plain value; not thread-safe.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "fs/base/check.h"

namespace varve::upper {

class BlockBitmap {
 public:
  static constexpr std::uint64_t kBitsPerWord = 64;

  BlockBitmap() = default;
  explicit BlockBitmap(std::uint64_t size_blocks)
      : size_blocks_(size_blocks), words_((size_blocks + kBitsPerWord - 1) / kBitsPerWord) {}

  std::uint64_t size_blocks() const { return size_blocks_; }
  bool test(std::uint64_t block) const {
    VARVE_CHECK(block < size_blocks_);
    return (words_[block / kBitsPerWord] >> (block % kBitsPerWord) & 1) != 0;
  }

  // Sets the blocks of [first, end). Requires: first <= end <= size_blocks().
  void set_range(std::uint64_t first, std::uint64_t end) { change_range<true>(first, end); }
  void clear_range(std::uint64_t first, std::uint64_t end) { change_range<false>(first, end); }

  // First set (clear) block at or after `from`; size_blocks() when there is none.
  std::uint64_t next_set(std::uint64_t from) const { return next<false>(from); }
  std::uint64_t next_clear(std::uint64_t from) const { return next<true>(from); }

  bool all_set(std::uint64_t first, std::uint64_t end) const { return next_clear(first) >= end; }
  bool none_set() const { return next_set(0) >= size_blocks_; }

  // Number of clear blocks in [first, end).
  std::uint64_t count_clear(std::uint64_t first, std::uint64_t end) const {
    VARVE_CHECK(first <= end && end <= size_blocks_);
    std::uint64_t clear = 0;
    while (first < end) {
      const std::uint64_t upto = std::min(end, (first / kBitsPerWord + 1) * kBitsPerWord);
      const std::uint64_t bits = ~words_[first / kBitsPerWord] & mask(first, upto);
      clear += static_cast<std::uint64_t>(std::popcount(bits));
      first = upto;
    }
    return clear;
  }

  // In place, bit by bit. Require: equal sizes.
  void merge(const BlockBitmap& other) {
    VARVE_CHECK(other.size_blocks_ == size_blocks_);
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  void subtract(const BlockBitmap& other) {
    VARVE_CHECK(other.size_blocks_ == size_blocks_);
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
  }

  // Word `index` holds blocks 64 * index and up, lowest bit first; bits past the end are 0. Words past the
  // end are 0 when read, and dropped when written.
  std::uint64_t word(std::uint64_t index) const { return index < words_.size() ? words_[index] : 0; }
  // The bits of word `index` that lie in [first, end).
  static std::uint64_t range_in_word(std::uint64_t index, std::uint64_t first, std::uint64_t end) {
    const std::uint64_t from = std::max(first, index * kBitsPerWord);
    const std::uint64_t upto = std::min(end, (index + 1) * kBitsPerWord);
    return from < upto ? mask(from, upto) : 0;
  }
  void merge_word(std::uint64_t index, std::uint64_t bits) {
    if (index >= words_.size()) return;
    words_[index] |= bits;
    const std::uint64_t used = size_blocks_ - index * kBitsPerWord;
    if (used < kBitsPerWord) words_[index] &= (std::uint64_t{1} << used) - 1;
  }

 private:
  // Bits of [first, end), which lie in one word.
  static std::uint64_t mask(std::uint64_t first, std::uint64_t end) {
    const std::uint64_t count = end - first;
    const std::uint64_t ones = count == kBitsPerWord ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    return ones << (first % kBitsPerWord);
  }

  template <bool kSet>
  void change_range(std::uint64_t first, std::uint64_t end) {
    VARVE_CHECK(first <= end && end <= size_blocks_);
    while (first < end) {
      const std::uint64_t upto = std::min(end, (first / kBitsPerWord + 1) * kBitsPerWord);
      std::uint64_t& target = words_[first / kBitsPerWord];
      target = kSet ? target | mask(first, upto) : target & ~mask(first, upto);
      first = upto;
    }
  }

  template <bool kInverted>
  std::uint64_t next(std::uint64_t from) const {
    while (from < size_blocks_) {
      const std::uint64_t index = from / kBitsPerWord;
      std::uint64_t bits = kInverted ? ~words_[index] : words_[index];
      bits &= ~std::uint64_t{0} << (from % kBitsPerWord);
      if (bits != 0) {
        return std::min(size_blocks_,
                        index * kBitsPerWord + static_cast<std::uint64_t>(std::countr_zero(bits)));
      }
      from = (index + 1) * kBitsPerWord;
    }
    return size_blocks_;
  }

  std::uint64_t size_blocks_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace varve::upper
