#include "fs/format/layer_decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/checked.h"
#include "fs/format/hash.h"

namespace varve::format {
namespace {

constexpr std::size_t kMaxSections = 64;
constexpr std::size_t kKnownSections = static_cast<std::size_t>(SectionType::kMeta);

template <class T>
T copy_as(std::span<const std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  VARVE_CHECK(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(static_cast<void*>(&value), bytes.data(), sizeof value);
  return value;
}

// The structures have alignment 1 and consist of bytes, so they may lie over any bytes.
template <class T>
std::span<const T> overlay(std::span<const std::byte> bytes) {
  static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class Container>
bool all_zero(const Container& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return static_cast<unsigned>(byte) == 0; });
}

template <class T>
std::optional<std::span<const T>> part_of(std::span<const T> table, std::uint64_t first,
                                          std::uint64_t count) {
  if (!range_within<std::uint64_t>(first, count, table.size())) return std::nullopt;
  return table.subspan(first, count);
}

std::optional<std::string_view> part_of(std::string_view text, std::uint64_t offset, std::uint64_t size) {
  if (!range_within<std::uint64_t>(offset, size, text.size())) return std::nullopt;
  return text.substr(offset, size);
}

std::string feature_names(std::uint64_t bits) {
  std::string text;
  const auto add = [&](std::string_view name) {
    if (!text.empty()) text += ", ";
    text += name;
  };
  if (bits & kIncompatDelta) add("delta files");
  if (bits & kIncompatRedirect) add("redirected directories");
  if (bits & kIncompatParentFrames) add("frames stored in parent layers");
  const std::uint64_t unnamed = bits & ~(kIncompatDelta | kIncompatRedirect | kIncompatParentFrames);
  if (unnamed != 0) add(fmt::format("unknown feature bits {:#x}", unnamed));
  return text;
}

FormatStatus check_version(std::uint16_t major, std::uint64_t incompat) {
  if (major != kMajorVersion) {
    return unsupported(
        fmt::format("layer format version {}, and this program reads version {}", major, kMajorVersion));
  }
  if ((incompat & ~kKnownIncompat) != 0) {
    return unsupported(fmt::format("it needs: {}", feature_names(incompat & ~kKnownIncompat)));
  }
  return {};
}

// Bytes of one record, 0 for a type that this build does not know.
std::size_t record_bytes(std::uint16_t type) {
  switch (static_cast<SectionType>(type)) {
    case SectionType::kInode:
      return sizeof(Inode);
    case SectionType::kDirent:
      return sizeof(Dirent);
    case SectionType::kExtent:
      return sizeof(Extent);
    case SectionType::kFrame:
      return sizeof(Frame);
    case SectionType::kDigest:
      return sizeof(Digest);
    case SectionType::kXattrSet:
      return sizeof(XattrSet);
    case SectionType::kXattrEntry:
      return sizeof(XattrEntry);
    case SectionType::kParent:
      return sizeof(Parent);
    case SectionType::kOrigin:
      return sizeof(Origin);
    case SectionType::kNames:
    case SectionType::kXattrValue:
    case SectionType::kMeta:
      return 1;
  }
  return 0;
}

// Walks the section table, whose hash is good, over the metadata bytes.
class SectionReader {
 public:
  SectionReader(std::span<const std::byte> metadata, std::uint64_t base, std::uint64_t end)
      : metadata_(metadata), base_(base), position_(base), end_(end) {}

  FormatStatus read(const SectionEntry& entry) {
    const std::uint16_t type = entry.type;
    const std::uint64_t offset = entry.offset;
    const std::uint64_t length = entry.length;
    if (entry.reserved != 0 || (entry.flags & ~kSectionOptional) != 0) {
      return corrupted(fmt::format("section {}: reserved bits are set", type));
    }
    if (offset % kSectionAlignment != 0 || offset < position_ || !range_within(offset, length, end_)) {
      return out_of_bounds(fmt::format("section {}: lies at {}+{}, outside its place", type, offset, length));
    }
    VARVE_RETURN_IF_ERROR(skip_padding(offset));
    const std::span<const std::byte> bytes = metadata_.subspan(offset - base_, length);
    if (const std::uint64_t found = xxh3_64(bytes); found != entry.xxh3) {
      return corrupted(fmt::format("section {}: checksum mismatch (expected {:016x}, found {:016x})", type,
                                   entry.xxh3.get(), found));
    }
    position_ = offset + length;
    const std::size_t record = record_bytes(type);
    if (record == 0) {
      if ((entry.flags & kSectionOptional) != 0) return {};
      return unsupported(fmt::format("it needs: section type {}", type));
    }
    if (type <= last_type_) return corrupted(fmt::format("section {}: out of order", type));
    last_type_ = type;
    if (length % record != 0) return corrupted(fmt::format("section {}: holds a part of a record", type));
    sections_[type] = bytes;
    return {};
  }

  // Moves to `offset`, over zeros.
  FormatStatus skip_padding(std::uint64_t offset) {
    if (offset - position_ >= kSectionAlignment) return corrupted("there is a gap between sections");
    if (!all_zero(metadata_.subspan(position_ - base_, offset - position_))) {
      return corrupted("padding between sections is not zero");
    }
    position_ = offset;
    return {};
  }

  std::span<const std::byte> section(SectionType type) const {
    return sections_[static_cast<std::size_t>(type)];
  }
  template <class T>
  std::span<const T> table(SectionType type) const {
    return overlay<T>(section(type));
  }

 private:
  std::span<const std::byte> metadata_;
  std::uint64_t base_;      // file offset of metadata_
  std::uint64_t position_;  // file offset up to which all is checked
  std::uint64_t end_;       // file offset of the section table
  std::uint16_t last_type_ = 0;
  std::array<std::span<const std::byte>, kKnownSections + 1> sections_{};
};

FormatStatus check_counts(const LayerTables& tables, const LayerFooter& footer) {
  if (tables.inodes.size() != footer.inode_count || tables.dirents.size() != footer.dirent_count ||
      tables.frames.size() != footer.frame_count || tables.extents.size() != footer.extent_count) {
    return corrupted("the sections do not hold as many records as the footer says");
  }
  constexpr std::uint64_t kLimit = UINT32_MAX;
  if (tables.inodes.size() >= kLimit || tables.dirents.size() >= kLimit) {
    return corrupted("more inodes or directory entries than the format allows");
  }
  return {};
}

}  // namespace

bool has_layer_magic(std::span<const std::byte> start) {
  return start.size() >= kLayerMagic.size() &&
         std::memcmp(start.data(), kLayerMagic.data(), kLayerMagic.size()) == 0;
}

FormatResult<Geometry> decode_header(std::span<const std::byte> start) {
  VARVE_CHECK(start.size() == kDataOffset);
  if (!has_layer_magic(start)) return corrupted("it does not begin with the magic of a layer file");
  const auto header = copy_as<LayerHeader>(start);
  // The version stands before the checksum: another major version may keep its checksum elsewhere.
  VARVE_RETURN_IF_ERROR(check_version(header.major_version, 0));
  const std::uint64_t found = xxh3_64(start.first(offsetof(LayerHeader, xxh3)));
  if (found != header.xxh3) {
    return corrupted(
        fmt::format("header: checksum mismatch (expected {:016x}, found {:016x})", header.xxh3.get(), found));
  }
  VARVE_RETURN_IF_ERROR(check_version(header.major_version, header.incompat));
  if (header.header_bytes != sizeof(LayerHeader) || header.block_log2 != kBlockLog2) {
    return unsupported("header size or block size differ from those of version 1");
  }
  if (header.frame_log2 < kBlockLog2 || header.frame_log2 > kMaxFrameLog2) {
    return corrupted(fmt::format("header: frame size 2^{} is not possible", header.frame_log2));
  }
  if (header.reserved0 != 0 || header.reserved1 != 0 || !all_zero(header.reserved2) ||
      !all_zero(start.subspan(sizeof(LayerHeader)))) {
    return corrupted("header: reserved bytes are not zero");
  }
  return Geometry{.run_frame_bytes = 1U << header.frame_log2, .header_incompat = header.incompat};
}

FormatResult<LayerFooter> decode_footer(std::span<const std::byte> end, std::uint64_t file_bytes) {
  VARVE_CHECK(end.size() == sizeof(LayerFooter));
  const auto footer = copy_as<LayerFooter>(end);
  if (footer.magic != kFooterMagic) return corrupted("it is truncated: the footer is missing from its end");
  VARVE_RETURN_IF_ERROR(check_version(footer.major_version, 0));
  const std::uint64_t found = xxh3_64(end.first(offsetof(LayerFooter, xxh3)));
  if (found != footer.xxh3) {
    return corrupted(
        fmt::format("footer: checksum mismatch (expected {:016x}, found {:016x})", footer.xxh3.get(), found));
  }
  VARVE_RETURN_IF_ERROR(check_version(footer.major_version, footer.incompat));
  if (footer.file_size != file_bytes) {
    return corrupted(fmt::format("it has {} bytes, and {} were written", file_bytes, footer.file_size.get()));
  }
  const std::uint64_t table_end = file_bytes - sizeof(LayerFooter);
  const auto sections_begin = checked_round_up<std::uint64_t>(footer.data_end, kSectionAlignment);
  if (footer.data_end < kDataOffset || !sections_begin || *sections_begin > footer.section_table_offset ||
      footer.section_table_offset % kSectionAlignment != 0 ||
      !range_within<std::uint64_t>(footer.section_table_offset, footer.section_table_size, table_end)) {
    return out_of_bounds("footer: data or section table lie outside of the file");
  }
  if (footer.section_count > kMaxSections ||
      footer.section_table_size != footer.section_count * sizeof(SectionEntry) ||
      footer.section_table_offset + footer.section_table_size != table_end) {
    return corrupted("footer: the section table has an impossible size");
  }
  if (!all_zero(footer.reserved)) return corrupted("footer: reserved bytes are not zero");
  return footer;
}

std::uint64_t metadata_offset(const LayerFooter& footer) {
  return footer.data_end;
}

FormatResult<LayerTables> decode_tables(std::span<const std::byte> metadata, const Geometry& geometry,
                                        const LayerFooter& footer) {
  const std::uint64_t base = metadata_offset(footer);
  VARVE_CHECK(metadata.size() == footer.file_size - base);
  if ((geometry.header_incompat & ~footer.incompat.get()) != 0) {
    return corrupted("the header has features that the footer lacks");
  }
  const auto table_bytes = metadata.subspan(footer.section_table_offset - base, footer.section_table_size);
  if (xxh3_128(table_bytes) != footer.root_hash) return corrupted("section table: checksum mismatch");
  SectionReader reader(metadata, base, footer.section_table_offset);
  for (const SectionEntry& entry : overlay<SectionEntry>(table_bytes))
    VARVE_RETURN_IF_ERROR(reader.read(entry));
  VARVE_RETURN_IF_ERROR(reader.skip_padding(footer.section_table_offset));

  LayerTables tables;
  tables.run_frame_bytes = geometry.run_frame_bytes;
  tables.data_end = footer.data_end;
  tables.incompat = footer.incompat;
  tables.content_bytes = footer.content_bytes;
  tables.inodes = reader.table<Inode>(SectionType::kInode);
  tables.dirents = reader.table<Dirent>(SectionType::kDirent);
  tables.names = as_text(reader.section(SectionType::kNames));
  tables.extents = reader.table<Extent>(SectionType::kExtent);
  tables.frames = reader.table<Frame>(SectionType::kFrame);
  tables.digests = reader.table<Digest>(SectionType::kDigest);
  tables.xattr_sets = reader.table<XattrSet>(SectionType::kXattrSet);
  tables.xattr_entries = reader.table<XattrEntry>(SectionType::kXattrEntry);
  tables.xattr_values = as_text(reader.section(SectionType::kXattrValue));
  tables.parents = reader.table<Parent>(SectionType::kParent);
  tables.origins = reader.table<Origin>(SectionType::kOrigin);
  tables.meta = as_text(reader.section(SectionType::kMeta));
  VARVE_RETURN_IF_ERROR(check_counts(tables, footer));
  return tables;
}

const Inode* LayerTables::inode(std::uint64_t index) const {
  return index == 0 || index >= inodes.size() ? nullptr : &inodes[index];
}

std::optional<std::span<const Dirent>> LayerTables::entries(const Inode& directory) const {
  return part_of(dirents, directory.payload_a, directory.payload_b);
}

std::optional<std::string_view> LayerTables::name(const Dirent& entry) const {
  return part_of(names, dirent_name_offset(entry), entry.name_size);
}

const Dirent* LayerTables::find(const Inode& directory, std::string_view wanted) const {
  const auto range = entries(directory);
  if (!range) return nullptr;
  const std::uint32_t hash = name_hash(wanted);
  // Equal hashes are sorted by name, so that names made to collide cost no more than others.
  const auto before = [&](const Dirent& entry, std::string_view value) {
    if (entry.hash != hash) return entry.hash < hash;
    return name(entry).value_or(std::string_view()) < value;
  };
  const auto found = std::lower_bound(range->begin(), range->end(), wanted, before);
  if (found == range->end() || found->hash != hash || name(*found) != wanted) return nullptr;
  return &*found;
}

std::optional<std::span<const Extent>> LayerTables::file_extents(const Inode& file) const {
  return part_of(extents, file.payload_a, file.payload_b);
}

std::optional<std::string_view> LayerTables::symlink_target(const Inode& link) const {
  return part_of(names, link.payload_a, link.payload_b);
}

std::optional<std::span<const XattrEntry>> LayerTables::xattrs(const Inode& inode_record) const {
  if (inode_record.xattr_set == 0) return std::span<const XattrEntry>();
  if (inode_record.xattr_set >= xattr_sets.size()) return std::nullopt;
  const XattrSet& set = xattr_sets[inode_record.xattr_set];
  return part_of(xattr_entries, set.first_entry, set.entry_count);
}

std::optional<std::string_view> LayerTables::xattr_name(const XattrEntry& entry) const {
  return part_of(names, entry.name_offset, entry.name_size);
}

std::optional<std::string_view> LayerTables::xattr_value(const XattrEntry& entry) const {
  return part_of(xattr_values, entry.value_offset, entry.value_size);
}

const Origin* LayerTables::origin(const Inode& inode_record) const {
  return inode_record.origin == 0 || inode_record.origin >= origins.size() ? nullptr
                                                                           : &origins[inode_record.origin];
}

const Digest* LayerTables::digest(const Inode& inode_record) const {
  return inode_record.digest == 0 || inode_record.digest >= digests.size() ? nullptr
                                                                           : &digests[inode_record.digest];
}

std::optional<std::string_view> LayerTables::origin_path(const Origin& record) const {
  return part_of(names, record.path_offset, record.path_size);
}

}  // namespace varve::format
