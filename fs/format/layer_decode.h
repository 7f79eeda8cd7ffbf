#pragma once

// Decoding of a layer file's bytes: header, footer, section table, and LayerTables, the typed view of its metadata.
// Pure: bytes in, values out. Checked here: magic, versions, features, and with layer_sections.h the checksums of the
// metadata. What the records say is checked by layer_check.h and layer_validate.h.
// Thread rule: immutable values and pure functions. Ownership: LayerTables borrows the metadata bytes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "fs/format/format_error.h"
#include "fs/format/layer_layout.h"
#include "fs/format/layer_sections.h"
#include "fs/format/metadata_gate.h"

namespace varve::format {

// The features that this build reads.
inline constexpr std::uint64_t kKnownIncompat = kIncompatDelta | kIncompatRedirect | kIncompatParentFrames;
// Those that cannot be read without the layers of the PARENT section.
inline constexpr std::uint64_t kNeedsParents = kIncompatDelta | kIncompatParentFrames;

// True when the first bytes of a file (at least 8, else false) are those of a layer file.
bool has_layer_magic(std::span<const std::byte> start);

struct Geometry {
  std::uint32_t run_frame_bytes = 0;  // 1 << frame_log2: frames of a kDataRun extent
  std::uint64_t header_incompat = 0;
};

// `start`: the first kDataOffset bytes of the file.
FormatResult<Geometry> decode_header(std::span<const std::byte> start);

// `end`: the last sizeof(LayerFooter) bytes of a file of `file_bytes`. Every offset of a footer returned here lies within
// the file, in the order data, sections, section table, footer.
FormatResult<LayerFooter> decode_footer(std::span<const std::byte> end, std::uint64_t file_bytes);

// Where the metadata of a decoded footer begins, with the padding before the first section: sections, section table and
// footer lie from there to the end of the file.
std::uint64_t metadata_offset(const LayerFooter& footer);

// Why an accessor of LayerTables has no answer.
enum class Miss : std::uint8_t {
  kOutOfBounds,  // an index or a range leaves its section; after validate() none that the tables themselves hold does
  kUnreadable,  // the gate does not admit the bytes
};
template <class T>
using Reached = Result<T, Miss>;

// The content of the metadata. Every accessor checks its bounds and asks the gate, so that a wrong index or bytes that are not
// there are a Miss and never a read outside. The spans may be touched directly only when all is there (no gate, or all of it
// admitted); their sizes always.
class LayerTables {
 public:
  std::uint32_t run_frame_bytes = 0;
  std::uint64_t data_end = 0;
  std::uint64_t incompat = 0;
  std::uint64_t content_bytes = 0;
  std::span<const Inode> inodes;
  std::span<const Dirent> dirents;
  std::string_view names;
  std::span<const Extent> extents;
  std::span<const Frame> frames;
  std::span<const Digest> digests;
  std::span<const XattrSet> xattr_sets;
  std::span<const XattrEntry> xattr_entries;
  std::string_view xattr_values;
  std::span<const Parent> parents;
  std::span<const Origin> origins;
  std::string_view meta;               // JSON; may be empty
  const MetadataGate* gate = nullptr;  // null: everything is there

  // Inode 0 is out of bounds.
  Reached<const Inode*> inode(std::uint64_t index) const;
  Reached<const Frame*> frame(std::uint64_t index) const;
  // Requires: a directory.
  Reached<std::span<const Dirent>> entries(const Inode& directory) const;
  Reached<std::string_view> name(const Dirent& entry) const;
  // Null when the directory has no such entry, whiteouts included. Requires: a directory. O(log entries), and touches no
  // more of them.
  Reached<const Dirent*> find(const Inode& directory, std::string_view name) const;
  // Requires: a regular file without kInodeInlineExtent.
  Reached<std::span<const Extent>> file_extents(const Inode& file) const;
  // Requires: a symbolic link.
  Reached<std::string_view> symlink_target(const Inode& link) const;
  // Empty span when the inode has no xattrs.
  Reached<std::span<const XattrEntry>> xattrs(const Inode& inode) const;
  Reached<const XattrSet*> xattr_set(std::uint64_t index) const;
  Reached<std::span<const XattrEntry>> set_entries(const XattrSet& set) const;
  Reached<std::string_view> xattr_name(const XattrEntry& entry) const;
  Reached<std::string_view> xattr_value(const XattrEntry& entry) const;
  // Null when the inode has none.
  Reached<const Origin*> origin(const Inode& inode) const;
  Reached<const Digest*> digest(const Inode& inode) const;
  Reached<std::string_view> origin_path(const Origin& origin) const;

 private:
  template <class T>
  Reached<const T*> record(std::span<const T> table, std::uint64_t index) const;
  template <class T>
  Reached<std::span<const T>> records(std::span<const T> table, std::uint64_t first,
                                      std::uint64_t count) const;
  Reached<std::string_view> text(std::string_view section, std::uint64_t offset, std::uint64_t size) const;
  bool admit(const void* begin, std::size_t size_bytes) const {
    return gate == nullptr || gate->admit(begin, size_bytes);
  }
};

// The tables over `bytes`, which are those of the file from `begin` on and hold every section up to META. Touches none of
// them: their hashes are SectionTable's to check, or the gate's.
FormatResult<LayerTables> make_tables(std::span<const std::byte> bytes, std::uint64_t begin,
                                      const SectionTable& sections, const Geometry& geometry,
                                      const LayerFooter& footer);

// `metadata`: the bytes from metadata_offset() to the end of the file, whose header and footer were decoded before.
// Checks the hashes of the section table, of every section and of every page.
FormatResult<LayerTables> decode_tables(std::span<const std::byte> metadata, const Geometry& geometry,
                                        const LayerFooter& footer);

// Of a frame record.
inline std::uint64_t frame_offset(const Frame& frame) {
  return frame.offset_and_flags >> 16;
}
inline std::uint16_t frame_flags(const Frame& frame) {
  return static_cast<std::uint16_t>(frame.offset_and_flags);
}
// Of a directory entry.
inline std::uint64_t dirent_name_offset(const Dirent& entry) {
  return static_cast<std::uint64_t>(entry.name_offset_high) << 32 | entry.name_offset_low;
}
inline bool is_whiteout(const Dirent& entry) {
  return (entry.flags & kDirentWhiteout) != 0;
}

}  // namespace varve::format
