// The writing half of LayerMetadata: header, sections, section table, footer.

#include <algorithm>
#include <array>
#include <bit>

#include "fs/base/checked.h"
#include "fs/format/hash.h"
#include "imagetool/image/writer/layer_metadata.h"

namespace varve::image {
namespace {

using format::LayerFooter;
using format::LayerHeader;
using format::SectionEntry;
using format::SectionType;

// The hashes of PAGE_HASH, of bytes that come in pieces.
class PageHasher {
 public:
  void add(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const std::size_t count =
          std::min<std::size_t>(bytes.size(), format::kMetadataPageBytes - page_.size());
      page_.insert(page_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
      if (page_.size() == format::kMetadataPageBytes) flush();
      bytes = bytes.subspan(count);
    }
  }
  std::span<const Le64> finish() {
    if (!page_.empty()) flush();
    return hashes_;
  }

 private:
  void flush() {
    hashes_.emplace_back(format::xxh3_64(page_));
    page_.clear();
  }

  std::vector<std::byte> page_;
  std::vector<Le64> hashes_;
};

// Appends sections to the output and keeps the table of them.
class SectionWriter {
 public:
  SectionWriter(LayerOutput& output, std::uint64_t data_end) : output_(output), position_(data_end) {
    align();
  }

  // An empty section is left out.
  StatusOrFailure write(SectionType type, std::span<const std::byte> bytes, std::uint16_t flags = 0) {
    if (bytes.empty()) return {};
    pages_.add(kPadding.first(align()));
    pages_.add(bytes);
    VARVE_RETURN_IF_ERROR(output_.write_at(position_, bytes));
    SectionEntry entry{};
    entry.type = static_cast<std::uint16_t>(type);
    entry.flags = flags;
    entry.offset = position_;
    entry.length = bytes.size();
    entry.xxh3 = format::xxh3_64(bytes);
    entries_.push_back(entry);
    position_ += bytes.size();
    return {};
  }

  template <class T>
  StatusOrFailure write_table(SectionType type, std::span<const T> table, std::uint16_t flags = 0) {
    return write(type, std::as_bytes(table), flags);
  }

  StatusOrFailure write_text(SectionType type, std::string_view text, std::uint16_t flags = 0) {
    return write(type, std::as_bytes(std::span(text)), flags);
  }

  // Over all sections written so far, and the padding behind them.
  StatusOrFailure write_page_hashes() {
    pages_.add(kPadding.first(align()));
    return write_table(SectionType::kPageHash, pages_.finish(), format::kSectionOptional);
  }

  StatusOrFailure finish(LayerFooter& footer) {
    align();
    const auto table = std::as_bytes(std::span(entries_));
    footer.section_count = static_cast<std::uint32_t>(entries_.size());
    footer.section_table_offset = position_;
    footer.section_table_size = table.size();
    footer.root_hash = format::xxh3_128(table);
    footer.file_size = position_ + table.size() + sizeof footer;
    VARVE_RETURN_IF_ERROR(output_.write_at(position_, table));
    footer.xxh3 = format::xxh3_64(format::bytes_of(footer).first(offsetof(LayerFooter, xxh3)));
    return output_.write_at(position_ + table.size(), format::bytes_of(footer));
  }

 private:
  static constexpr std::array<std::byte, format::kSectionAlignment> kZeros{};
  static constexpr std::span<const std::byte> kPadding{kZeros};

  // What is skipped reads as zeros: the file is new. Returns: how much that is.
  std::size_t align() {
    const std::uint64_t before = position_;
    position_ = checked_round_up<std::uint64_t>(position_, format::kSectionAlignment).value();
    return static_cast<std::size_t>(position_ - before);
  }

  LayerOutput& output_;
  std::uint64_t position_;
  PageHasher pages_;
  std::vector<SectionEntry> entries_;
};

}  // namespace

StatusOrFailure LayerMetadata::write_header(LayerOutput& output, std::uint32_t frame_bytes) const {
  LayerHeader header{};
  header.magic = format::kLayerMagic;
  header.major_version = format::kMajorVersion;
  header.minor_version = format::kMinorVersion;
  header.header_bytes = sizeof header;
  header.block_log2 = format::kBlockLog2;
  header.frame_log2 = static_cast<std::uint8_t>(std::countr_zero(frame_bytes));
  header.incompat = incompat_;
  header.xxh3 = format::xxh3_64(format::bytes_of(header).first(offsetof(LayerHeader, xxh3)));
  return output.write_at(0, format::bytes_of(header));
}

ResultOrFailure<LayerFooter> LayerMetadata::write(LayerOutput& output) const {
  const format::LayerTables all = tables();
  SectionWriter writer(output, data_end_);
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kInode, all.inodes));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kDirent, all.dirents));
  VARVE_RETURN_IF_ERROR(writer.write_text(SectionType::kNames, all.names));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kExtent, all.extents));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kFrame, all.frames));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kDigest, all.digests));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kXattrSet, all.xattr_sets));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kXattrEntry, all.xattr_entries));
  VARVE_RETURN_IF_ERROR(writer.write_text(SectionType::kXattrValue, all.xattr_values));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kParent, all.parents));
  VARVE_RETURN_IF_ERROR(writer.write_table(SectionType::kOrigin, all.origins));
  VARVE_RETURN_IF_ERROR(writer.write_text(SectionType::kMeta, all.meta, format::kSectionOptional));
  VARVE_RETURN_IF_ERROR(writer.write_page_hashes());

  LayerFooter footer{};
  footer.magic = format::kFooterMagic;
  footer.major_version = format::kMajorVersion;
  footer.minor_version = format::kMinorVersion;
  footer.incompat = incompat_;
  footer.data_end = data_end_;
  footer.inode_count = all.inodes.size();
  footer.dirent_count = all.dirents.size();
  footer.frame_count = all.frames.size();
  footer.extent_count = all.extents.size();
  footer.content_bytes = content_bytes_;
  VARVE_RETURN_IF_ERROR(writer.finish(footer));
  return footer;
}

}  // namespace varve::image
