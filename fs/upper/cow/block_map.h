#pragma once

// BlockMap: which blocks of a partly copied file are claimed, that is, held by the upper; the others are read
// from the base. Bits only ever go from 0 to 1. Two planes (docs/consistency.md has the argument):
//   live     written after the block's data was handed to the kernel: survives a kill of the daemon, counts
//   only
//            under the boot that wrote it
//   durable  written only after the block's data is on stable storage: survives a power loss
// Thread rule: not thread-safe; the cow file's lock guards it. sync_file() alone may be used without the
// lock. Ownership: shares the map's file; the file is made at the first claim, so an untouched copy-up costs
// none.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "fs/base/result.h"
#include "fs/block/block_file.h"
#include "fs/upper/cow/block_bitmap.h"
#include "fs/upper/cow/block_map_layout.h"

namespace varve::upper {

class BlockMap {
 public:
  struct Identity {
    std::uint64_t map_id = 0;
    BootId boot_id{};               // of the running kernel
    std::uint64_t size_blocks = 0;  // blocks of the base
  };
  using MakeFile = std::function<Result<std::unique_ptr<block::BlockFile>>()>;

  BlockMap() = default;
  // `file` is null when there is none yet; `make_file` makes it.
  // Returns: EIO for a page that is no map page of `identity` (one log line).
  static Result<BlockMap> load(const Identity& identity, std::unique_ptr<block::BlockFile> file,
                               MakeFile make_file);

  const BlockBitmap& claimed() const { return claimed_; }
  const BlockBitmap& durable() const { return durable_; }
  // Claimed, but not yet by the durable plane.
  BlockBitmap live_only() const;

  // Makes sure that claims of [first, end) find their pages, so that a full disk is found before data is
  // touched.
  Status reserve(std::uint64_t first, std::uint64_t end);
  // Requires: the data of blocks [first, end) was written (or the blocks hold no data to lose). On an error
  // the blocks of earlier pages may be claimed.
  Status claim(std::uint64_t first, std::uint64_t end);
  // Writes `blocks` to the durable plane; they count as durable once sync_file() and then mark_durable() were
  // done. Requires: `blocks` are claimed and their data is on stable storage.
  Status write_durable(const BlockBitmap& blocks);
  void mark_durable(const BlockBitmap& blocks) { durable_.merge(blocks); }
  // The open file; null when no block was ever claimed.
  std::shared_ptr<block::BlockFile> file() const { return file_; }

 private:
  enum class PageState : std::uint8_t { kAbsent, kOtherBoot, kCurrent };

  Status load_page(std::uint64_t page_index);
  // Brings the page to kCurrent: header of this boot, live plane without bits of another boot.
  Status prepare_page(std::uint64_t page_index);
  template <class WordAt>
  Status write_words(std::uint64_t plane_offset_bytes, std::uint64_t first_word, std::uint64_t end_word,
                     const WordAt& word_at);
  MapPageHeader header_of(std::uint64_t page_index) const;

  Identity identity_;
  std::shared_ptr<block::BlockFile> file_;
  MakeFile make_file_;
  BlockBitmap claimed_;
  BlockBitmap durable_;
  std::vector<PageState> pages_;
};

// Makes every live claim of `boot_id` in the map a durable one, and syncs the map.
// Requires: the data of the file that the map belongs to is on stable storage.
Status promote_live_claims(block::BlockFile& map, const BootId& boot_id);

}  // namespace varve::upper
