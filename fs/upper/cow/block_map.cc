#include "fs/upper/cow/block_map.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "fs/base/log.h"

namespace varve::upper {
namespace {

std::span<const std::byte> bytes_of(const auto& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint64_t page_offset(std::uint64_t page_index) {
  return page_index * kMapPageBytes;
}

bool is_zero(const MapPageHeader& header) {
  const MapPageHeader zero{};
  return std::memcmp(&header, &zero, sizeof zero) == 0;
}

std::uint64_t word_of(const std::array<unsigned char, kMapPlaneBytes>& plane, std::uint64_t index) {
  Le64 word;
  std::memcpy(&word, plane.data() + index * 8, sizeof word);
  return word;
}

// Returns: false when the page was never (wholly) written, and claims nothing.
Result<bool> read_page(const block::BlockFile& file, std::uint64_t page_index, MapPage& page) {
  VARVE_ASSIGN(const std::size_t got,
               file.read_at(page_offset(page_index), std::as_writable_bytes(std::span(&page, 1))));
  // A page is written whole before any of its bits, so a short one lost its tail with its claims.
  if (got < sizeof page || is_zero(page.header)) return false;
  return true;
}

}  // namespace

Result<BlockMap> BlockMap::load(const Identity& identity, std::unique_ptr<block::BlockFile> file,
                                MakeFile make_file) {
  BlockMap map;
  map.identity_ = identity;
  map.file_ = std::move(file);
  map.make_file_ = std::move(make_file);
  map.claimed_ = BlockBitmap(identity.size_blocks);
  map.durable_ = BlockBitmap(identity.size_blocks);
  map.pages_.assign((identity.size_blocks + kMapBlocksPerPage - 1) / kMapBlocksPerPage, PageState::kAbsent);
  if (map.file_ == nullptr) return map;
  VARVE_ASSIGN(const std::uint64_t size_bytes, map.file_->size_bytes());
  for (std::uint64_t i = 0; i < map.pages_.size() && page_offset(i) < size_bytes; ++i) {
    VARVE_RETURN_IF_ERROR(map.load_page(i));
  }
  return map;
}

Status BlockMap::load_page(std::uint64_t page_index) {
  MapPage page;
  VARVE_ASSIGN(const bool present, read_page(*file_, page_index, page));
  if (!present) return {};
  const MapPageHeader& header = page.header;
  if (header.magic != kMapMagic || header.version != kMapVersion || header.page_index != page_index ||
      header.map_id != identity_.map_id) {
    log_error("block map {:016x}: page {}: not a page of this map; the file cannot be read", identity_.map_id,
              page_index);
    return Errno{EIO};
  }
  const bool live_counts = header.boot_id == identity_.boot_id;
  for (std::uint64_t i = 0; i < kMapWordsPerPage; ++i) {
    const std::uint64_t durable = word_of(page.durable, i);
    const std::uint64_t live = live_counts ? word_of(page.live, i) : 0;
    durable_.merge_word(page_index * kMapWordsPerPage + i, durable);
    claimed_.merge_word(page_index * kMapWordsPerPage + i, durable | live);
  }
  pages_[page_index] = live_counts ? PageState::kCurrent : PageState::kOtherBoot;
  return {};
}

BlockBitmap BlockMap::live_only() const {
  BlockBitmap blocks = claimed_;
  blocks.subtract(durable_);
  return blocks;
}

MapPageHeader BlockMap::header_of(std::uint64_t page_index) const {
  MapPageHeader header{};
  header.magic = kMapMagic;
  header.version = kMapVersion;
  header.page_index = page_index;
  header.map_id = identity_.map_id;
  header.boot_id = identity_.boot_id;
  return header;
}

// Words [first_word, end_word), which lie in one page, go to the plane at `plane_offset_bytes` of that page.
template <class WordAt>
Status BlockMap::write_words(std::uint64_t plane_offset_bytes, std::uint64_t first_word,
                             std::uint64_t end_word, const WordAt& word_at) {
  std::array<Le64, kMapWordsPerPage> words;
  const std::uint64_t count = end_word - first_word;
  for (std::uint64_t i = 0; i < count; ++i) words[i] = word_at(first_word + i);
  const std::uint64_t page_index = first_word / kMapWordsPerPage;
  const std::uint64_t offset =
      page_offset(page_index) + plane_offset_bytes + first_word % kMapWordsPerPage * sizeof(Le64);
  return file_->write_at(offset, std::as_bytes(std::span(words).first(count)));
}

Status BlockMap::prepare_page(std::uint64_t page_index) {
  if (pages_[page_index] == PageState::kCurrent) return {};
  if (file_ == nullptr) {
    VARVE_ASSIGN(auto made, make_file_());
    file_ = std::move(made);
  }
  if (pages_[page_index] == PageState::kAbsent) {
    MapPage page{};
    page.header = header_of(page_index);
    VARVE_RETURN_IF_ERROR(file_->write_at(page_offset(page_index), bytes_of(page)));
  } else {
    // The live plane first: under the old boot id it counts for nothing, so no order of loss can revive its
    // old bits.
    const std::uint64_t first = page_index * kMapWordsPerPage;
    VARVE_RETURN_IF_ERROR(write_words(offsetof(MapPage, live), first, first + kMapWordsPerPage,
                                      [this](std::uint64_t w) { return claimed_.word(w); }));
    VARVE_RETURN_IF_ERROR(file_->write_at(page_offset(page_index), bytes_of(header_of(page_index))));
  }
  pages_[page_index] = PageState::kCurrent;
  return {};
}

Status BlockMap::reserve(std::uint64_t first, std::uint64_t end) {
  for (std::uint64_t i = first / kMapBlocksPerPage; i * kMapBlocksPerPage < end; ++i) {
    VARVE_RETURN_IF_ERROR(prepare_page(i));
  }
  return {};
}

Status BlockMap::claim(std::uint64_t first, std::uint64_t end) {
  while (first < end) {
    const std::uint64_t page_index = first / kMapBlocksPerPage;
    const std::uint64_t upto = std::min(end, (page_index + 1) * kMapBlocksPerPage);
    if (!claimed_.all_set(first, upto)) {
      VARVE_RETURN_IF_ERROR(prepare_page(page_index));
      VARVE_RETURN_IF_ERROR(write_words(offsetof(MapPage, live), first / BlockBitmap::kBitsPerWord,
                                        (upto - 1) / BlockBitmap::kBitsPerWord + 1, [&](std::uint64_t w) {
                                          return claimed_.word(w) |
                                                 BlockBitmap::range_in_word(w, first, upto);
                                        }));
      claimed_.set_range(first, upto);
    }
    first = upto;
  }
  return {};
}

Status BlockMap::write_durable(const BlockBitmap& blocks) {
  for (std::uint64_t i = 0; i < pages_.size(); ++i) {
    const std::uint64_t first_word = i * kMapWordsPerPage;
    std::uint64_t first = first_word + kMapWordsPerPage;
    std::uint64_t end = first_word;
    for (std::uint64_t w = first_word; w < first_word + kMapWordsPerPage; ++w) {
      if ((blocks.word(w) & ~durable_.word(w)) == 0) continue;
      first = std::min(first, w);
      end = w + 1;
    }
    if (first >= end) continue;
    VARVE_RETURN_IF_ERROR(prepare_page(i));
    // Merged with what is there: the store may have made claims durable while the file was closed.
    MapPage page;
    VARVE_RETURN_IF_ERROR(read_page(*file_, i, page));
    VARVE_RETURN_IF_ERROR(write_words(offsetof(MapPage, durable), first, end, [&](std::uint64_t w) {
      return word_of(page.durable, w - first_word) | blocks.word(w);
    }));
  }
  return {};
}

Status promote_live_claims(block::BlockFile& map, const BootId& boot_id) {
  VARVE_ASSIGN(const std::uint64_t size_bytes, map.size_bytes());
  bool changed = false;
  for (std::uint64_t i = 0; page_offset(i) < size_bytes; ++i) {
    MapPage page;
    VARVE_ASSIGN(const bool present, read_page(map, i, page));
    if (!present || page.header.magic != kMapMagic || page.header.boot_id != boot_id) continue;
    bool page_changed = false;
    for (std::size_t byte = 0; byte < kMapPlaneBytes; ++byte) {
      if ((page.live[byte] & ~page.durable[byte]) == 0) continue;
      page.durable[byte] = static_cast<unsigned char>(page.durable[byte] | page.live[byte]);
      page_changed = true;
    }
    if (!page_changed) continue;
    VARVE_RETURN_IF_ERROR(map.write_at(page_offset(i) + offsetof(MapPage, durable), bytes_of(page.durable)));
    changed = true;
  }
  if (!changed) return {};
  return map.sync(true);
}

}  // namespace varve::upper
