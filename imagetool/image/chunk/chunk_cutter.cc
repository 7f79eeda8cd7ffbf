#include "imagetool/image/chunk/chunk_cutter.h"

#include <algorithm>
#include <array>
#include <bit>

#include "fs/base/check.h"

namespace varve::image {
namespace {

// By how many bits the two masks differ from the one of plain chunking: "normalisation level 2" of the paper.
constexpr int kNormalisation = 2;

// A random number for each byte. SplitMix64 (Steele, Lea, Flood 2014), so that no table need be believed.
constexpr std::array<std::uint64_t, 256> make_gear() {
  std::array<std::uint64_t, 256> gear{};
  std::uint64_t state = 0;
  for (std::uint64_t& value : gear) {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    value = mixed ^ mixed >> 31;
  }
  return gear;
}
constexpr std::array<std::uint64_t, 256> kGear = make_gear();

// The highest bits of the hash: they depend on the most bytes, up to 64.
constexpr std::uint64_t mask_of(int bits) {
  return ~std::uint64_t{0} << (64 - bits);
}

}  // namespace

ChunkCutter::ChunkCutter(std::uint32_t average_bytes)
    : average_bytes_(average_bytes),
      strict_mask_(mask_of(std::countr_zero(average_bytes) + kNormalisation)),
      lenient_mask_(mask_of(std::countr_zero(average_bytes) - kNormalisation)) {
  VARVE_CHECK(std::has_single_bit(average_bytes) && average_bytes >= kLeastAverageBytes &&
              average_bytes <= kMostAverageBytes);
}

std::size_t ChunkCutter::cut(std::span<const std::byte> bytes) const {
  const std::size_t end = std::min(bytes.size(), most_bytes());
  const std::size_t middle = std::min<std::size_t>(end, average_bytes_);
  std::uint64_t hash = 0;
  std::size_t at = least_bytes();
  for (; at < middle; ++at) {
    hash = (hash << 1) + kGear[std::to_integer<std::size_t>(bytes[at])];
    if ((hash & strict_mask_) == 0) return at + 1;
  }
  for (; at < end; ++at) {
    hash = (hash << 1) + kGear[std::to_integer<std::size_t>(bytes[at])];
    if ((hash & lenient_mask_) == 0) return at + 1;
  }
  return end;
}

}  // namespace varve::image
