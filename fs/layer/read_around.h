#pragma once

// ReadAround: when stored bytes are read here and there in a part of a layer file, the rest of that part is fetched into the
// kernel's page cache by one large read, in the background. Small reads of a disk cost their latency, whatever their size: 24 KiB
// in 95 us, 64 KiB in 105 us on the disk this was measured on.
// Thread rule: every method may be called from any thread. Ownership: borrows the descriptor.

#include <array>
#include <atomic>
#include <cstdint>

namespace varve::layer {

class ReadAround {
 public:
  static constexpr std::uint64_t kWindowBytes = std::uint64_t{512} << 10;

  explicit ReadAround(int fd) : fd_(fd) {}

  // Tells that what lies at `offset_bytes` is about to be read. Fetches the window around it when it is the second read there, and
  // at each 256th after that: by then the kernel may have dropped it. Blocks for no disk. A failure is nothing to anybody: the
  // read itself will tell.
  void about_to_read(std::uint64_t offset_bytes) const;

 private:
  // Windows so far apart share a count, which then is too high: one is fetched at its first read.
  static constexpr std::size_t kCounts = 4096;

  int fd_;
  mutable std::array<std::atomic<std::uint8_t>, kCounts> reads_{};
};

}  // namespace varve::layer
