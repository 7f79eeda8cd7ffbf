#include "imagetool/image/piece_difference.h"

#include <algorithm>

#include "fs/format/layer_layout.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;

// One file's pieces, walked by ascending offsets.
class Walk {
 public:
  explicit Walk(std::span<const layer::Piece> pieces) : pieces_(pieces) {}

  // The piece that holds `offset`; null in a hole. Requires: no smaller `offset` than before.
  const layer::Piece* at(std::uint64_t offset) {
    while (next_ < pieces_.size() && pieces_[next_].end() <= offset) ++next_;
    return next_ < pieces_.size() && pieces_[next_].file_offset <= offset ? &pieces_[next_] : nullptr;
  }
  // Where what at(offset) told ends.
  std::uint64_t end(std::uint64_t offset, std::uint64_t limit) const {
    if (next_ == pieces_.size()) return limit;
    const layer::Piece& piece = pieces_[next_];
    return std::min(limit, piece.file_offset <= offset ? piece.end() : piece.file_offset);
  }

 private:
  std::span<const layer::Piece> pieces_;
  std::size_t next_ = 0;
};

bool same_place(const layer::Piece* a, const layer::Piece* b, std::uint64_t offset) {
  if (a == nullptr || b == nullptr) return a == b;
  if (a->layer != b->layer || a->run_frame_bytes != b->run_frame_bytes) return false;
  // Of a run counted from frame 0, as if all frames were as large as its own.
  const auto position = [&](const layer::Piece& piece) {
    return piece.frame * piece.run_frame_bytes + piece.start_bytes + (offset - piece.file_offset);
  };
  return position(*a) == position(*b) && (a->run_frame_bytes != 0 || a->frame == b->frame);
}

}  // namespace

std::vector<layer::Range> changed_ranges(std::span<const layer::Piece> pieces, std::uint64_t size_bytes,
                                         std::span<const layer::Piece> below) {
  std::vector<layer::Range> ranges;
  Walk own(pieces);
  Walk other(below);
  for (std::uint64_t offset = 0; offset < size_bytes;) {
    const bool same = same_place(own.at(offset), other.at(offset), offset);
    const std::uint64_t end = std::min(own.end(offset, size_bytes), other.end(offset, size_bytes));
    if (!same) {
      // A file that was cut ends within a block.
      const std::uint64_t start = offset / kBlockBytes * kBlockBytes;
      const bool joins = !ranges.empty() && ranges.back().offset_bytes + ranges.back().size_bytes >= start;
      if (!joins) ranges.push_back({start, 0});
      const std::uint64_t rest = end % kBlockBytes == 0 ? 0 : kBlockBytes - end % kBlockBytes;
      ranges.back().size_bytes = end + std::min(rest, size_bytes - end) - ranges.back().offset_bytes;
    }
    offset = end;
  }
  return ranges;
}

std::uint64_t data_blocks_of(std::span<const layer::Piece> pieces) {
  std::uint64_t blocks = 0;
  std::uint64_t counted_to = 0;  // blocks before this one are counted
  for (const layer::Piece& piece : pieces) {
    const std::uint64_t first = std::max(piece.file_offset / kBlockBytes, counted_to);
    const std::uint64_t end = (piece.end() + kBlockBytes - 1) / kBlockBytes;
    blocks += end - std::min(first, end);
    counted_to = std::max(counted_to, end);
  }
  return blocks;
}

}  // namespace varve::image
