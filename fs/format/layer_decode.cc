#include "fs/format/layer_decode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/base/check.h"
#include "fs/base/checked.h"
#include "fs/format/hash.h"

namespace varve::format {
namespace {

constexpr std::size_t kMaxSections = 64;

template <class T>
T copy_as(std::span<const std::byte> bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  VARVE_CHECK(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(static_cast<void*>(&value), bytes.data(), sizeof value);
  return value;
}

template <class Container>
bool all_zero(const Container& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return static_cast<unsigned>(byte) == 0; });
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

// The sections as typed spans over bytes that begin at `begin` of the file. The structures have alignment 1 and consist of
// bytes, so they may lie over any bytes.
class SectionViews {
 public:
  SectionViews(std::span<const std::byte> bytes, std::uint64_t begin, const SectionTable& sections)
      : bytes_(bytes), begin_(begin), sections_(sections) {}

  template <class T>
  std::span<const T> table(SectionType type) const {
    static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
    const SectionEntry* entry = sections_.find(type);
    if (entry == nullptr) return {};
    const auto bytes = bytes_.subspan(entry->offset - begin_, entry->length);
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
  std::string_view text(SectionType type) const {
    const auto bytes = table<std::byte>(type);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t begin_;
  const SectionTable& sections_;
};

FormatStatus check_pages(std::span<const std::byte> paged, std::span<const Le64> hashes) {
  for (std::size_t page = 0; page < hashes.size(); ++page) {
    const std::size_t offset = page * kMetadataPageBytes;
    const auto bytes =
        paged.subspan(offset, std::min<std::size_t>(kMetadataPageBytes, paged.size() - offset));
    if (!check_page(bytes, hashes[page]).ok()) {
      return corrupted(fmt::format("PAGE_HASH: the hash of page {} is not that of its bytes", page));
    }
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

FormatResult<LayerTables> make_tables(std::span<const std::byte> bytes, std::uint64_t begin,
                                      const SectionTable& sections, const Geometry& geometry,
                                      const LayerFooter& footer) {
  if ((geometry.header_incompat & ~footer.incompat.get()) != 0) {
    return corrupted("the header has features that the footer lacks");
  }
  const SectionViews views(bytes, begin, sections);
  LayerTables tables;
  tables.run_frame_bytes = geometry.run_frame_bytes;
  tables.data_end = footer.data_end;
  tables.incompat = footer.incompat;
  tables.content_bytes = footer.content_bytes;
  tables.inodes = views.table<Inode>(SectionType::kInode);
  tables.dirents = views.table<Dirent>(SectionType::kDirent);
  tables.names = views.text(SectionType::kNames);
  tables.extents = views.table<Extent>(SectionType::kExtent);
  tables.frames = views.table<Frame>(SectionType::kFrame);
  tables.digests = views.table<Digest>(SectionType::kDigest);
  tables.xattr_sets = views.table<XattrSet>(SectionType::kXattrSet);
  tables.xattr_entries = views.table<XattrEntry>(SectionType::kXattrEntry);
  tables.xattr_values = views.text(SectionType::kXattrValue);
  tables.parents = views.table<Parent>(SectionType::kParent);
  tables.origins = views.table<Origin>(SectionType::kOrigin);
  tables.meta = views.text(SectionType::kMeta);
  return tables;
}

FormatResult<LayerTables> decode_tables(std::span<const std::byte> metadata, const Geometry& geometry,
                                        const LayerFooter& footer) {
  const std::uint64_t begin = metadata_offset(footer);
  VARVE_CHECK(metadata.size() == footer.file_size - begin);
  const auto table_bytes = metadata.subspan(footer.section_table_offset - begin, footer.section_table_size);
  VARVE_ASSIGN(const SectionTable sections, SectionTable::decode(table_bytes, footer));
  VARVE_RETURN_IF_ERROR(sections.check_bytes(metadata.first(footer.section_table_offset - begin), begin));
  if (sections.is_paged()) {
    const auto hashes = SectionViews(metadata, begin, sections).table<Le64>(SectionType::kPageHash);
    const auto paged =
        metadata.subspan(sections.paged_begin() - begin, sections.paged_end() - sections.paged_begin());
    VARVE_RETURN_IF_ERROR(check_pages(paged, hashes));
  }
  return make_tables(metadata, begin, sections, geometry, footer);
}

template <class T>
Reached<const T*> LayerTables::record(std::span<const T> table, std::uint64_t index) const {
  if (index >= table.size()) return Miss::kOutOfBounds;
  if (!admit(&table[index], sizeof(T))) return Miss::kUnreadable;
  return &table[index];
}

template <class T>
Reached<std::span<const T>> LayerTables::records(std::span<const T> table, std::uint64_t first,
                                                 std::uint64_t count) const {
  if (!range_within<std::uint64_t>(first, count, table.size())) return Miss::kOutOfBounds;
  const std::span<const T> part = table.subspan(first, count);
  if (!admit(part.data(), part.size_bytes())) return Miss::kUnreadable;
  return part;
}

Reached<std::string_view> LayerTables::text(std::string_view section, std::uint64_t offset,
                                            std::uint64_t size) const {
  if (!range_within<std::uint64_t>(offset, size, section.size())) return Miss::kOutOfBounds;
  const std::string_view part = section.substr(offset, size);
  if (!admit(part.data(), part.size())) return Miss::kUnreadable;
  return part;
}

Reached<const Inode*> LayerTables::inode(std::uint64_t index) const {
  if (index == 0) return Miss::kOutOfBounds;
  return record(inodes, index);
}

Reached<const Frame*> LayerTables::frame(std::uint64_t index) const {
  return record(frames, index);
}

Reached<std::span<const Dirent>> LayerTables::entries(const Inode& directory) const {
  return records(dirents, directory.payload_a, directory.payload_b);
}

Reached<std::string_view> LayerTables::name(const Dirent& entry) const {
  return text(names, dirent_name_offset(entry), entry.name_size);
}

Reached<const Dirent*> LayerTables::find(const Inode& directory, std::string_view wanted) const {
  if (!range_within<std::uint64_t>(directory.payload_a, directory.payload_b, dirents.size())) {
    return Miss::kOutOfBounds;
  }
  const std::uint32_t hash = name_hash(wanted);
  // Equal hashes are sorted by name, so that names made to collide cost no more than others.
  std::uint64_t first = directory.payload_a;
  std::uint64_t end = first + directory.payload_b;
  while (first < end) {
    const std::uint64_t middle = first + (end - first) / 2;
    const Dirent& entry = dirents[middle];
    if (!admit(&entry, sizeof entry)) return Miss::kUnreadable;
    bool before = entry.hash < hash;
    if (entry.hash == hash) {
      VARVE_ASSIGN(const std::string_view found, name(entry));
      if (found == wanted) return &entry;
      before = found < wanted;
    }
    if (before) {
      first = middle + 1;
    } else {
      end = middle;
    }
  }
  return nullptr;
}

Reached<std::span<const Extent>> LayerTables::file_extents(const Inode& file) const {
  return records(extents, file.payload_a, file.payload_b);
}

Reached<std::string_view> LayerTables::symlink_target(const Inode& link) const {
  return text(names, link.payload_a, link.payload_b);
}

Reached<std::span<const XattrEntry>> LayerTables::xattrs(const Inode& inode_record) const {
  if (inode_record.xattr_set == 0) return std::span<const XattrEntry>();
  VARVE_ASSIGN(const XattrSet* set, xattr_set(inode_record.xattr_set));
  return set_entries(*set);
}

Reached<const XattrSet*> LayerTables::xattr_set(std::uint64_t index) const {
  return record(xattr_sets, index);
}

Reached<std::span<const XattrEntry>> LayerTables::set_entries(const XattrSet& set) const {
  return records(xattr_entries, set.first_entry, set.entry_count);
}

Reached<std::string_view> LayerTables::xattr_name(const XattrEntry& entry) const {
  return text(names, entry.name_offset, entry.name_size);
}

Reached<std::string_view> LayerTables::xattr_value(const XattrEntry& entry) const {
  return text(xattr_values, entry.value_offset, entry.value_size);
}

Reached<const Origin*> LayerTables::origin(const Inode& inode_record) const {
  if (inode_record.origin == 0) return nullptr;
  return record(origins, inode_record.origin);
}

Reached<const Digest*> LayerTables::digest(const Inode& inode_record) const {
  if (inode_record.digest == 0) return nullptr;
  return record(digests, inode_record.digest);
}

Reached<std::string_view> LayerTables::origin_path(const Origin& record) const {
  return text(names, record.path_offset, record.path_size);
}

}  // namespace varve::format
