#include "fs/format/layer_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/base/checked.h"
#include "fs/format/hash.h"

namespace varve::format {
namespace {

struct KnownSection {
  SectionType type;
  std::uint64_t record_bytes;
  const char* name;
};
constexpr KnownSection kKnownSections[] = {
    {SectionType::kInode, sizeof(Inode), "INODE"},
    {SectionType::kDirent, sizeof(Dirent), "DIRENT"},
    {SectionType::kNames, 1, "NAMES"},
    {SectionType::kExtent, sizeof(Extent), "EXTENT"},
    {SectionType::kFrame, sizeof(Frame), "FRAME"},
    {SectionType::kDigest, sizeof(Digest), "DIGEST"},
    {SectionType::kXattrSet, sizeof(XattrSet), "XATTR_SET"},
    {SectionType::kXattrEntry, sizeof(XattrEntry), "XATTR_ENTRY"},
    {SectionType::kXattrValue, 1, "XATTR_VALUE"},
    {SectionType::kParent, sizeof(Parent), "PARENT"},
    {SectionType::kOrigin, sizeof(Origin), "ORIGIN"},
    {SectionType::kMeta, 1, "META"},
    {SectionType::kPageHash, sizeof(Le64), "PAGE_HASH"},
};

const KnownSection* known(std::uint16_t type) {
  const auto found = std::find_if(std::begin(kKnownSections), std::end(kKnownSections), [&](const auto& one) {
    return static_cast<std::uint16_t>(one.type) == type;
  });
  return found == std::end(kKnownSections) ? nullptr : found;
}

// `last_type`: of the known sections before.
FormatStatus check_entry(const SectionEntry& entry, std::uint16_t& last_type) {
  const std::uint16_t type = entry.type;
  if (entry.reserved != 0 || (entry.flags & ~kSectionOptional) != 0) {
    return corrupted(fmt::format("section {}: reserved bits are set", type));
  }
  const KnownSection* section = known(type);
  if (section == nullptr) {
    if ((entry.flags & kSectionOptional) != 0) return {};
    return unsupported(fmt::format("it needs: section type {}", type));
  }
  if (type <= last_type) return corrupted(fmt::format("section {}: out of order", type));
  last_type = type;
  if (entry.length % section->record_bytes != 0) {
    return corrupted(fmt::format("section {}: holds a part of a record", type));
  }
  return {};
}

// `position`: where the section before ends.
FormatStatus check_place(const SectionEntry& entry, std::uint64_t position, std::uint64_t end) {
  if (entry.offset % kSectionAlignment != 0 || entry.offset < position ||
      !range_within<std::uint64_t>(entry.offset, entry.length, end)) {
    return out_of_bounds(fmt::format("section {}: lies at {}+{}, outside its place", entry.type.get(),
                                     entry.offset.get(), entry.length.get()));
  }
  if (entry.offset - position >= kSectionAlignment) return corrupted("there is a gap between sections");
  return {};
}

FormatStatus check_counts(const SectionTable& table, const LayerFooter& footer) {
  const auto count = [&](SectionType type, std::uint64_t record_bytes) {
    const SectionEntry* entry = table.find(type);
    return entry == nullptr ? 0 : entry->length / record_bytes;
  };
  const std::uint64_t inodes = count(SectionType::kInode, sizeof(Inode));
  const std::uint64_t dirents = count(SectionType::kDirent, sizeof(Dirent));
  if (inodes != footer.inode_count || dirents != footer.dirent_count ||
      count(SectionType::kFrame, sizeof(Frame)) != footer.frame_count ||
      count(SectionType::kExtent, sizeof(Extent)) != footer.extent_count) {
    return corrupted("the sections do not hold as many records as the footer says");
  }
  constexpr std::uint64_t kLimit = UINT32_MAX;
  if (inodes >= kLimit || dirents >= kLimit || footer.frame_count >= kLimit) {
    return corrupted("more inodes, directory entries or frames than the format allows");
  }
  if (!table.is_paged()) return {};
  const std::uint64_t pages = metadata_page_count(table.paged_end() - table.paged_begin());
  if (count(SectionType::kPageHash, sizeof(Le64)) != pages) {
    return corrupted("PAGE_HASH does not hold one hash for each page");
  }
  return {};
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

FormatResult<SectionTable> SectionTable::decode(std::span<const std::byte> bytes, const LayerFooter& footer) {
  if (xxh3_128(bytes) != footer.root_hash) return corrupted("section table: checksum mismatch");
  SectionTable table;
  table.entries_.resize(bytes.size() / sizeof(SectionEntry));
  if (!bytes.empty()) std::memcpy(static_cast<void*>(table.entries_.data()), bytes.data(), bytes.size());
  std::uint64_t position = footer.data_end;
  std::uint16_t last_type = 0;
  for (const SectionEntry& entry : table.entries_) {
    VARVE_RETURN_IF_ERROR(check_place(entry, position, footer.section_table_offset));
    VARVE_RETURN_IF_ERROR(check_entry(entry, last_type));
    position = entry.offset + entry.length;
  }
  if (footer.section_table_offset - position >= kSectionAlignment) {
    return corrupted("there is a gap between sections");
  }
  VARVE_RETURN_IF_ERROR(check_counts(table, footer));
  return table;
}

const SectionEntry* SectionTable::find(SectionType type) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const SectionEntry& entry) {
    return entry.type == static_cast<std::uint16_t>(type);
  });
  return found == entries_.end() ? nullptr : &*found;
}

std::string SectionTable::names_within(std::uint64_t begin, std::uint64_t end) const {
  std::string names;
  for (const SectionEntry& entry : entries_) {
    if (entry.offset >= end || entry.offset + entry.length <= begin) continue;
    if (!names.empty()) names += ", ";
    const KnownSection* section = known(entry.type);
    names += section != nullptr ? section->name : fmt::format("section {}", entry.type.get());
  }
  return names.empty() ? "padding" : names;
}

FormatStatus SectionTable::check_bytes(std::span<const std::byte> bytes, std::uint64_t begin) const {
  std::uint64_t position = begin;
  const auto take = [&](std::uint64_t until) {
    const auto part = bytes.subspan(position - begin, until - position);
    position = until;
    return part;
  };
  const std::uint64_t end = begin + bytes.size();
  for (const SectionEntry& entry : entries_) {
    if (entry.offset < begin || entry.offset >= end) continue;
    if (!is_zero(take(entry.offset))) return corrupted("padding between sections is not zero");
    if (const std::uint64_t found = xxh3_64(take(entry.offset + entry.length)); found != entry.xxh3) {
      return corrupted(fmt::format("section {}: checksum mismatch (expected {:016x}, found {:016x})",
                                   entry.type.get(), entry.xxh3.get(), found));
    }
  }
  if (!is_zero(take(end))) return corrupted("padding between sections is not zero");
  return {};
}

std::uint64_t metadata_page_count(std::uint64_t paged_bytes) {
  return paged_bytes / kMetadataPageBytes + (paged_bytes % kMetadataPageBytes != 0 ? 1 : 0);
}

FormatStatus check_page(std::span<const std::byte> page, std::uint64_t expected_xxh3) {
  const std::uint64_t found = xxh3_64(page);
  if (found == expected_xxh3) return {};
  return corrupted(fmt::format("checksum mismatch (expected {:016x}, found {:016x})", expected_xxh3, found));
}

}  // namespace varve::format
