#pragma once

// SectionTable: where the sections of a layer file lie, and the checks of their bytes, which may be done for all at once or for
// one page at a time. Pure: bytes in, values out. Thread rule: immutable values and pure functions.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fs/format/format_error.h"
#include "fs/format/layer_layout.h"

namespace varve::format {

class SectionTable {
 public:
  // `bytes`: the section table of a decoded footer. Checks its hash, and of every section all but its bytes: that it is
  // known or may be skipped, its order, place and alignment, whole records, as many as the footer says.
  static FormatResult<SectionTable> decode(std::span<const std::byte> bytes, const LayerFooter& footer);

  std::span<const SectionEntry> entries() const { return entries_; }  // ascending by offset
  // Null when the file has no such section.
  const SectionEntry* find(SectionType type) const;
  // The names of the sections that have bytes in [begin, end) of the file, for messages.
  std::string names_within(std::uint64_t begin, std::uint64_t end) const;

  // Whether the file has page hashes. The paged part of the file: from the first section to PAGE_HASH.
  bool is_paged() const { return find(SectionType::kPageHash) != nullptr; }
  std::uint64_t paged_begin() const { return entries_.front().offset; }
  // Requires: is_paged().
  std::uint64_t paged_end() const { return find(SectionType::kPageHash)->offset; }

  // The bytes [begin, begin + bytes.size()) of the file, which end before or with the last section or its padding: the hash of
  // every section that begins there, and zeros between them. Requires: `begin` is the end of DATA or of a section.
  FormatStatus check_bytes(std::span<const std::byte> bytes, std::uint64_t begin) const;

 private:
  std::vector<SectionEntry> entries_;
};

// How many records PAGE_HASH has for so many bytes.
std::uint64_t metadata_page_count(std::uint64_t paged_bytes);
// One page, the last of them shorter, against its record. `where`: for the message.
FormatStatus check_page(std::span<const std::byte> page, std::uint64_t expected_xxh3);

}  // namespace varve::format
