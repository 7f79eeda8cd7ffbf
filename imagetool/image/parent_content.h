#pragma once

// ParentContent: the content of a file beside that of the file of a parent layer which it probably came from. What comes out is
// what a delta file stores: the 4 KiB blocks that differ. So that reads do not jump between layers for every block, equal
// blocks between changed ones are stored with them unless they are kLeastInheritedBlocks or more.
// Thread rule: one thread. Borrows both contents.

#include <cstdint>
#include <vector>

#include "fs/format/hash.h"
#include "fs/layer/layer.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

class ParentContent : public ContentSource {
 public:
  static constexpr std::uint64_t kLeastInheritedBlocks = 4;

  // `content` gives a file of `size_bytes`; `name` is what messages call the base.
  ParentContent(ContentSource& content, std::uint64_t size_bytes, const layer::LowerFile& base,
                std::string name);

  ResultOrFailure<std::optional<Chunk>> next() override;
  std::optional<format::Hash128> whole_digest() const override;
  std::optional<std::uint64_t> data_blocks() const override { return data_blocks_; }

  // After the end: blocks that are not stored because the base has them.
  std::uint64_t inherited_blocks() const { return inherited_blocks_; }

 private:
  enum class Block : std::uint8_t { kInherited, kData, kHole };

  StatusOrFailure load_window();
  // Fills the window with the content's bytes from window_offset_ on, and notes which of its blocks hold data.
  StatusOrFailure fill_window();
  // Moves the window over whole windows that are holes in both files.
  StatusOrFailure skip_holes();
  StatusOrFailure advance_chunk();
  StatusOrFailure compare_window();
  void join_short_runs();

  ContentSource& content_;
  const std::uint64_t size_bytes_;
  const layer::LowerFile& base_;
  const std::string name_;

  std::optional<Chunk> chunk_;  // of content_, not yet used up
  bool content_ended_ = false;
  std::uint64_t window_offset_ = 0;  // of window_ in the file
  std::uint64_t window_bytes_ = 0;
  std::uint64_t next_block_ = 0;  // of the window, not yet given out
  std::vector<std::byte> window_;
  std::vector<std::byte> base_window_;
  std::vector<Block> blocks_;  // of the window
  format::ContentHasher hasher_;
  std::uint64_t hashed_hole_bytes_ = 0;
  std::uint64_t inherited_blocks_ = 0;
  std::uint64_t data_blocks_ = 0;
};

}  // namespace varve::image
