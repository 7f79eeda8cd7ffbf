#pragma once

// The block map on disk: which 4 KiB blocks of a partly copied file the upper itself holds
// (docs/upper-format.md). Pure layout; a page is self-contained, so that pages may reach the disk in any
// order, and so may their sectors.

#include <array>
#include <cstdint>

#include "fs/base/endian.h"

namespace varve::upper {

inline constexpr std::uint64_t kBlockSizeBytes = 4096;

using BootId = std::array<unsigned char, 16>;

inline constexpr std::uint32_t kMapMagic = 0x70616d76;  // "vmap"
inline constexpr std::uint16_t kMapVersion = 1;
inline constexpr std::size_t kMapPageBytes = 4096;
inline constexpr std::size_t kMapPlaneBytes = 2016;
inline constexpr std::uint64_t kMapBlocksPerPage = kMapPlaneBytes * 8;

struct MapPageHeader {
  Le32 magic;
  Le16 version;
  Le16 reserved_0;
  Le64 page_index;
  Le64 map_id;
  BootId boot_id;  // the boot under which `live` of this page counts
  std::array<unsigned char, 24> reserved_1;
};
static_assert(sizeof(MapPageHeader) == 64);

// Bit i of a plane (lowest bit of the first byte first) is block page_index * kMapBlocksPerPage + i.
struct MapPage {
  MapPageHeader header;
  std::array<unsigned char, kMapPlaneBytes> durable;
  std::array<unsigned char, kMapPlaneBytes> live;
};
static_assert(sizeof(MapPage) == kMapPageBytes);
static_assert(kMapPlaneBytes % 8 == 0);

inline constexpr std::uint64_t kMapWordsPerPage = kMapPlaneBytes / 8;

}  // namespace varve::upper
