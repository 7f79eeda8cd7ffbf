#pragma once

// ChunkCutter: cuts bytes into chunks at places that their content chooses, so that the same content gives the same chunks
// wherever it lies. After Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data
// Deduplication", USENIX ATC 2016: the Gear hash with normalised chunking.
// Thread rule: immutable.

#include <cstddef>
#include <cstdint>
#include <span>

namespace varve::image {

class ChunkCutter {
 public:
  static constexpr std::uint32_t kDefaultAverageBytes = 16 << 10;
  static constexpr std::uint32_t kLeastAverageBytes = 4 << 10;
  static constexpr std::uint32_t kMostAverageBytes = 256 << 10;

  // Requires: a power of two from kLeastAverageBytes to kMostAverageBytes.
  explicit ChunkCutter(std::uint32_t average_bytes = kDefaultAverageBytes);

  // No chunk but the last of a content is shorter, none is longer.
  std::size_t least_bytes() const { return average_bytes_ / 4; }
  std::size_t most_bytes() const { return std::size_t{average_bytes_} * 4; }

  // Returns: the length of the chunk with which `bytes` begins; all of them when they hold no end of a chunk. Give most_bytes()
  // or more, unless the content ends.
  std::size_t cut(std::span<const std::byte> bytes) const;

 private:
  std::uint32_t average_bytes_;
  std::uint64_t strict_mask_;   // up to the average size: an end is less likely
  std::uint64_t lenient_mask_;  // from there on: more likely
};

}  // namespace varve::image
