#pragma once

// Every structure of the layer file, version 1, as it lies on disk. docs/layer-format.md explains; this header is the
// byte-for-byte truth. All integers little-endian; structures have alignment 1 and no padding.
//
//   0        LayerHeader
//   64       DATA: zstd frames and stored frames, back to back
//   ...      sections, each aligned to 64, in the order of SectionType
//   ...      section table
//   EOF-256  LayerFooter

#include <array>
#include <cstddef>
#include <cstdint>

#include "fs/base/endian.h"

namespace varve::format {

inline constexpr std::array<unsigned char, 8> kLayerMagic = {0x89, 'V', 'R', 'V', '\r', '\n', 0x1a, '\n'};
inline constexpr std::array<unsigned char, 8> kFooterMagic = {'V', 'R', 'V', 'F', 'O', 'O', 'T', '1'};
inline constexpr std::uint16_t kMajorVersion = 1;
inline constexpr std::uint16_t kMinorVersion = 0;
inline constexpr std::uint64_t kDataOffset = 64;
inline constexpr std::uint64_t kSectionAlignment = 64;  // a cache line: an inode record lies in one
inline constexpr std::uint8_t kBlockLog2 = 12;          // 4 KiB copy-on-write blocks
inline constexpr std::uint8_t kMaxFrameLog2 = 23;
inline constexpr std::uint32_t kMaxFrameBytes = 1U << kMaxFrameLog2;  // uncompressed
inline constexpr std::uint32_t kMaxSymlinkBytes = 4095;
inline constexpr std::uint32_t kMaxXattrValueBytes = 64 * 1024;  // XATTR_SIZE_MAX of Linux
inline constexpr std::uint32_t kMaxXattrSetBytes = 1 << 20;      // names and values of one inode
inline constexpr std::uint32_t kRootInode = 1;                   // 0 means none
// What a reader that does not take all metadata at once reads and verifies at a time (PAGE_HASH).
inline constexpr unsigned kMetadataPageLog2 = 14;
inline constexpr std::uint64_t kMetadataPageBytes = std::uint64_t{1} << kMetadataPageLog2;

struct LayerHeader {
  std::array<unsigned char, 8> magic;  // kLayerMagic
  Le16 major_version;
  Le16 minor_version;
  Le32 header_bytes;        // sizeof(LayerHeader)
  std::uint8_t block_log2;  // kBlockLog2
  std::uint8_t frame_log2;  // log2 of the frame size used for large files
  Le16 reserved0;
  Le32 reserved1;
  Le64 incompat;
  std::array<unsigned char, 24> reserved2;
  Le64 xxh3;  // XXH3-64 of the 56 bytes before
};
static_assert(sizeof(LayerHeader) == 64);

// Feature bits. A reader refuses a layer with an incompat bit that it does not know.
inline constexpr std::uint64_t kIncompatDelta = 1;         // inodes with kInodeDelta
inline constexpr std::uint64_t kIncompatRedirect = 2;      // directories with kInodeRedirect
inline constexpr std::uint64_t kIncompatParentFrames = 4;  // extents with a source other than 0

enum class SectionType : std::uint16_t {
  kInode = 1,
  kDirent = 2,
  kNames = 3,
  kExtent = 4,
  kFrame = 5,
  kDigest = 6,
  kXattrSet = 7,
  kXattrEntry = 8,
  kXattrValue = 9,
  kParent = 10,
  kOrigin = 11,
  kMeta = 12,      // JSON: readable names of features, tool and zstd version
  kPageHash = 13,  // optional. Le64: XXH3-64 of each page of what lies between the first section and this one
};

// Inode.flags
inline constexpr std::uint16_t kInodeDelta = 1;         // what no extent covers is inherited from the origin
inline constexpr std::uint16_t kInodeInlineExtent = 2;  // payload is InlineExtent
inline constexpr std::uint16_t kInodeOpaque = 4;
inline constexpr std::uint16_t kInodeRedirect = 8;

// Inode 0 is unused (all zeros); the root is inode 1. 64 bytes. The meaning of the payload follows the type and flags:
//   regular, kInodeDelta          payload_a = first extent, payload_b = number of extents, payload_c = blocks of 4096 bytes
//                                 that hold data, the inherited ones included (UINT32_MAX: that many or more)
//   regular, kInodeInlineExtent   payload_a = extent source word, payload_b = in_frame_offset; file_offset 0, length = size
//   regular otherwise             payload_a = first extent, payload_b = number of extents
//   directory                     payload_a = first dirent, payload_b = number of dirents, payload_c = inode of its parent
//                                 (the root's is itself)
//   symlink                       payload_a = offset in NAMES, payload_b = length of the target
//   others                        zeros
struct Inode {
  Le16 mode;  // st_mode
  Le16 flags;
  Le32 nlink;  // directory: 2 + its subdirectories within this layer
  Le32 uid;
  Le32 gid;
  LeS64 mtime_seconds;
  Le32 mtime_nanoseconds;
  Le32 xattr_set;  // index in XATTR_SET; 0 none
  Le64 size;  // regular: bytes; directory: number of dirents; device: major << 32 | minor; symlink: length
  Le64 payload_a;
  Le32 payload_b;
  Le32 payload_c;
  Le32 digest;  // index in DIGEST; 0 none
  Le32 origin;  // index in ORIGIN, exactly with kInodeDelta or kInodeRedirect; else 0
};
static_assert(sizeof(Inode) == 64);

inline constexpr std::uint8_t kDirentWhiteout = 1;

// The entries of one directory are contiguous and sorted by (hash, name). hash = low 32 bits of XXH3-64(name).
struct Dirent {
  Le32 hash;
  Le32 inode;            // 0 exactly when kDirentWhiteout
  Le32 name_offset_low;  // offset in NAMES, 40 bits
  std::uint8_t name_offset_high;
  std::uint8_t name_size;  // 1..255
  std::uint8_t type;       // DT_* value of the inode, 0 for a whiteout
  std::uint8_t flags;
};
static_assert(sizeof(Dirent) == 16);

enum class ExtentKind : std::uint8_t {
  kData = 1,  // `length` bytes of one frame from in_frame_offset on
  kDataRun =
      2,  // consecutive frames from `frame` on, each of (1 << frame_log2) bytes but the last; in_frame_offset 0, but with a source
          // anywhere in the first frame
  kHole = 3,  // zeros; needed in delta files only: elsewhere what no extent covers is a hole
};

// The "source word": frame (40 bits) << 24 | source (16 bits) << 8 | kind (8 bits). source 0 is this file, else PARENT index.
constexpr std::uint64_t make_extent_source(std::uint64_t frame, std::uint16_t source, ExtentKind kind) {
  return frame << 24 | static_cast<std::uint64_t>(source) << 8 | static_cast<std::uint64_t>(kind);
}
constexpr std::uint64_t extent_frame(std::uint64_t word) {
  return word >> 24;
}
constexpr std::uint16_t extent_source(std::uint64_t word) {
  return static_cast<std::uint16_t>(word >> 8);
}
constexpr ExtentKind extent_kind(std::uint64_t word) {
  return static_cast<ExtentKind>(word & 0xff);
}

// Extents of a file are sorted by file_offset and do not overlap. file_offset is a multiple of 4096.
struct Extent {
  Le64 file_offset;
  Le64 length;  // bytes; a multiple of 4096 except where the extent reaches the end of the file
  Le64 source_word;
  Le32 in_frame_offset;
  Le32 reserved;
};
static_assert(sizeof(Extent) == 32);

inline constexpr std::uint16_t kFrameStored = 1;  // payload is not compressed
inline constexpr std::uint32_t kStoredFrameMagic = 0x184D2A50;
inline constexpr std::uint32_t kStoredFrameHeaderBytes = 8;

// One frame of DATA. A compressed frame is one zstd frame (RFC 8878) with its content size, no checksum, no dictionary
// id. A stored frame is a zstd skippable frame (magic 0x184D2A50, Le32 size, payload), so csize = usize + 8.
struct Frame {
  Le64 offset_and_flags;  // offset in the file (48 bits) << 16 | flags
  Le32 stored_size;       // csize: bytes in the file
  Le32 content_size;      // usize: bytes after decoding, <= kMaxFrameBytes
  Le64 xxh3;              // XXH3-64 of the stored bytes
};
static_assert(sizeof(Frame) == 24);

// XXH3-128 of a regular file's content (its `size` bytes, holes as zeros), canonical (big-endian) form of the xxHash
// library. Index 0 is unused.
struct Digest {
  std::array<unsigned char, 16> xxh3_128;
};
static_assert(sizeof(Digest) == 16);

// Set 0 is unused. The entries of a set are sorted by name.
struct XattrSet {
  Le32 first_entry;
  Le32 entry_count;
};
static_assert(sizeof(XattrSet) == 8);

struct XattrEntry {
  Le64 name_offset;  // in NAMES; the full name, "user.x"
  Le32 name_size;    // 1..255
  Le32 value_size;
  Le64 value_offset;  // in XATTR_VALUE
};
static_assert(sizeof(XattrEntry) == 24);

// A layer that lies below this one in every stack: it holds what delta files and extents with a source inherit. Index 0 is
// unused.
struct Parent {
  std::array<unsigned char, 32> sha256;     // of the layer file, for people and registries; zeros: not known
  std::array<unsigned char, 16> root_hash;  // of its footer: what a reader looks for in the stack
};
static_assert(sizeof(Parent) == 48);

// Where a delta file or a redirected directory continues. Index 0 is unused. A redirect has a path in the layers below, and
// zeros else. A delta file has a parent and an inode there, that inode's digest (zeros when it has none), and a path
// that the inode had there, by which it can be found again in another layer (rebase).
struct Origin {
  Le16 parent;  // PARENT index; 0 for a redirect
  Le16 reserved0;
  Le32 inode;  // in that parent
  std::array<unsigned char, 16> base_digest;
  Le64 path_offset;  // in NAMES
  Le32 path_size;
  Le32 reserved1;
};
static_assert(sizeof(Origin) == 40);

struct SectionEntry {
  Le16 type;
  Le16 flags;  // 1: a reader that does not know the type may skip it
  Le32 reserved;
  Le64 offset;
  Le64 length;
  Le64 xxh3;  // XXH3-64 of the section's bytes
};
static_assert(sizeof(SectionEntry) == 32);
inline constexpr std::uint16_t kSectionOptional = 1;

struct LayerFooter {
  std::array<unsigned char, 8> magic;  // kFooterMagic
  Le16 major_version;
  Le16 minor_version;
  Le32 section_count;
  Le64 incompat;
  Le64 ro_compat;
  Le64 compat;
  Le64 file_size;  // of the whole layer file
  Le64 data_end;   // end of DATA
  Le64 section_table_offset;
  Le64 section_table_size;
  Le64 inode_count;  // records, the unused one included
  Le64 dirent_count;
  Le64 frame_count;
  Le64 extent_count;
  Le64 content_bytes;                       // sum of the sizes of all regular files, hard links counted once
  std::array<unsigned char, 16> root_hash;  // XXH3-128 of the section table's bytes
  std::array<unsigned char, 120> reserved;
  Le64 xxh3;  // XXH3-64 of the 248 bytes before
};
static_assert(sizeof(LayerFooter) == 256);

}  // namespace varve::format
