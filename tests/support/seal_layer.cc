#include "tests/support/seal_layer.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "fs/base/check.h"
#include "fs/base/checked.h"
#include "fs/format/hash.h"
#include "fs/format/layer_sections.h"

namespace varve::test {
namespace {

using format::SectionEntry;

std::span<const std::byte> part(const std::string& file, std::size_t offset, std::size_t size) {
  return std::as_bytes(std::span(file)).subspan(offset, size);
}

void put_page_hashes(std::string& file, std::size_t begin, const SectionEntry& hashes) {
  const std::size_t end = hashes.offset;
  if (hashes.length != page_hash_bytes(begin, end)) return;
  for (std::size_t page = 0; begin + page * format::kMetadataPageBytes < end; ++page) {
    const std::size_t offset = begin + page * format::kMetadataPageBytes;
    const Le64 hash =
        format::xxh3_64(part(file, offset, std::min<std::size_t>(format::kMetadataPageBytes, end - offset)));
    std::memcpy(file.data() + end + page * sizeof hash, &hash, sizeof hash);
  }
}

}  // namespace

std::size_t page_hash_bytes(std::size_t begin, std::size_t end) {
  return format::metadata_page_count(end - begin) * sizeof(Le64);
}

void seal_layer(std::string& file) {
  format::LayerFooter footer{};
  VARVE_CHECK(file.size() >= sizeof footer);
  const std::size_t footer_offset = file.size() - sizeof footer;
  std::memcpy(static_cast<void*>(&footer), file.data() + footer_offset, sizeof footer);
  const std::size_t table = footer.section_table_offset;
  VARVE_CHECK(table <= footer_offset);
  std::vector<SectionEntry> entries((footer_offset - table) / sizeof(SectionEntry));
  if (!entries.empty()) {
    std::memcpy(static_cast<void*>(entries.data()), file.data() + table,
                entries.size() * sizeof(SectionEntry));
  }
  for (SectionEntry& entry : entries) {
    if (!range_within<std::uint64_t>(entry.offset, entry.length, table)) continue;
    if (entry.type == static_cast<std::uint16_t>(format::SectionType::kPageHash)) {
      put_page_hashes(file, entries.front().offset, entry);
    }
    entry.xxh3 = format::xxh3_64(part(file, entry.offset, entry.length));
  }
  if (!entries.empty()) {
    std::memcpy(file.data() + table, static_cast<const void*>(entries.data()),
                entries.size() * sizeof(SectionEntry));
  }
  footer.root_hash = format::xxh3_128(part(file, table, footer_offset - table));
  footer.xxh3 = format::xxh3_64(format::bytes_of(footer).first(offsetof(format::LayerFooter, xxh3)));
  std::memcpy(file.data() + footer_offset, static_cast<const void*>(&footer), sizeof footer);
}

}  // namespace varve::test
