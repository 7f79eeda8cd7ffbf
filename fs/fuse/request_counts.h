#pragma once

// RequestCounts: how many requests of each kind a mount has had. Thread rule: any thread.

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace varve::fuse {

class RequestCounts {
 public:
  // `opcode` as in linux/fuse.h.
  void note(std::uint32_t opcode) {
    counts_[opcode < kKinds ? opcode : 0].fetch_add(1, std::memory_order_relaxed);
  }
  // Name, as in linux/fuse.h without FUSE_, and count of each kind there was, in the order of opcodes.
  std::vector<std::pair<std::string_view, std::uint64_t>> seen() const;

 private:
  static constexpr std::uint32_t kKinds = 64;
  std::array<std::atomic<std::uint64_t>, kKinds> counts_{};  // by opcode; 0: of no kind that is known here
};

}  // namespace varve::fuse
