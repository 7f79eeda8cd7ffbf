#pragma once

// ChunkedContent: the content of a file, of which what the parents hold somewhere is told by its place there. Chunks are found by
// their hash, compared byte by byte (XXH3 does not withstand somebody who wants two contents to collide), and then lengthened in both
// directions as far as the bytes are equal.
// So that reads do not jump: what is taken has kLeastHeldBytes or more, and of each MiB there are at most kMostHeld pieces (of less
// than a MiB in a row so many fewer, but two), the longest. The rest is stored.
// Thread rule: one thread. Borrows both.

#include <deque>
#include <optional>
#include <vector>

#include "imagetool/image/chunk/parent_chunks.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

class ChunkedContent final : public ContentSource {
 public:
  static constexpr std::size_t kWindowBytes = std::size_t{1} << 20;
  static constexpr std::size_t kMostHeld = 8;

  // `content` gives a file of `size_bytes`.
  ChunkedContent(ContentSource& content, std::uint64_t size_bytes, ParentChunks& chunks);

  ResultOrFailure<std::optional<Chunk>> next() override;
  std::optional<ParentPlace> held_at() const override { return held_at_; }
  std::optional<format::Hash128> whole_digest() const override { return content_.whole_digest(); }
  std::optional<std::uint64_t> data_blocks() const override { return content_.data_blocks(); }

 private:
  // Bytes [begin, end) of the window, as they lie in a file of a parent from `offset_bytes` on.
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::uint32_t file = 0;
    std::uint64_t offset_bytes = 0;
  };
  // A part of a match that lies in one piece of one layer, whole blocks of the new file.
  struct Held {
    std::size_t begin = 0;
    std::size_t end = 0;
    ParentPlace place;
  };

  StatusOrFailure advance_chunk();
  // Takes pieces that lie side by side into the window.
  StatusOrFailure load_window();
  StatusOrFailure find_matches();
  // The match with which the window before ended goes on.
  StatusOrFailure continue_match(std::size_t& position);
  // How many of `bytes` a file of a parent holds from `offset_bytes` on.
  ResultOrFailure<std::size_t> equal_ahead(std::uint32_t file, std::uint64_t offset_bytes,
                                           std::span<const std::byte> bytes);
  // How many of the last of `bytes` it holds before `offset_bytes`.
  ResultOrFailure<std::size_t> equal_before(std::uint32_t file, std::uint64_t offset_bytes,
                                            std::span<const std::byte> bytes);
  ResultOrFailure<std::span<const std::byte>> read_parent(std::uint32_t file, std::uint64_t offset_bytes,
                                                          std::size_t size_bytes);
  StatusOrFailure place_match(const Match& match);
  void keep_longest();

  ContentSource& content_;
  const std::uint64_t size_bytes_;
  ParentChunks& chunks_;

  std::optional<Chunk> chunk_;  // of content_, not yet used up
  bool content_ended_ = false;
  std::uint64_t window_offset_ = 0;  // in the file
  std::vector<std::byte> window_;
  std::vector<std::byte> parent_bytes_;
  std::vector<Match> matches_;  // of the window
  std::deque<Held> held_;       // of the window, ascending, not yet given out
  std::size_t given_ = 0;       // bytes of the window
  std::optional<ParentPlace> held_at_;
  // Where the last match ends, when it reaches the end of the window: offsets in the file and in the parent's.
  struct Open {
    std::uint64_t file_offset = 0;
    std::uint32_t file = 0;
    std::uint64_t offset_bytes = 0;
  };
  std::optional<Open> open_match_;
  std::uint64_t held_end_ = 0;  // in the file, of the last piece that was found in a parent
  std::uint64_t stripe_ = 0;    // the MiB of the file in which the window begins
  std::size_t held_in_stripe_ = 0;
};

}  // namespace varve::image
