#include "imagetool/image/writer/layer_content_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fs/base/checked.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;

// A tail of a large range shrinks better in a packed frame, unless it is as large as this: then it has a frame of its own,
// and one extent describes all of the range. Measured with frames of 64 KiB, where all tails are packed, and of 128 KiB,
// where packing the larger half too makes layers larger by up to 0.8 %.
constexpr std::uint64_t kLargeTailBytes = 64 << 10;

std::uint64_t block_start(std::uint64_t offset) {
  return offset & ~(kBlockBytes - 1);
}

class ContentReader {
 public:
  ContentReader(std::uint64_t size_bytes, bool delta, LayerContentStore& store)
      : size_bytes_(size_bytes), frame_bytes_(store.frame_bytes()), delta_(delta), store_(store) {}

  ResultOrFailure<StoredContent> read(ContentSource& source) {
    for (;;) {
      VARVE_ASSIGN(const std::optional<Chunk> chunk, source.next());
      if (!chunk) break;
      VARVE_RETURN_IF_ERROR(add(*chunk, source.held_at()));
    }
    VARVE_RETURN_IF_ERROR(end_range());
    if (delta_) {
      content_.digest = source.whole_digest();
      return std::move(content_);
    }
    hash_hole(size_bytes_ - position_);
    if (!content_.digest && hole_bytes_ <= kMaxHashedHoleBytes) content_.digest = hasher().digest();
    return std::move(content_);
  }

 private:
  StatusOrFailure add(const Chunk& chunk, const std::optional<ParentPlace>& held_at) {
    const std::uint64_t length = chunk.bytes.empty() ? chunk.hole_bytes : chunk.bytes.size();
    if (length == 0) return {};
    if (chunk.offset_bytes < position_ ||
        !range_within<std::uint64_t>(chunk.offset_bytes, length, size_bytes_)) {
      return Failure{
          EINVAL, fmt::format("its content has a piece at {}+{} that overlaps or leaves the file of {} bytes",
                              chunk.offset_bytes, length, size_bytes_)};
    }
    if (delta_ || held_at) VARVE_RETURN_IF_ERROR(check_blocks(chunk.offset_bytes, length));
    if (chunk.bytes.empty()) return delta_ ? add_hole(chunk.offset_bytes, length) : StatusOrFailure();
    if (held_at) return add_held(chunk, *held_at);
    if (!delta_ && length == size_bytes_ && size_bytes_ < frame_bytes_) return add_whole_file(chunk.bytes);
    VARVE_RETURN_IF_ERROR(move_to(chunk.offset_bytes));
    if (!delta_) hasher().update(chunk.bytes);
    position_ = chunk.offset_bytes + chunk.bytes.size();
    return append(chunk.bytes);
  }

  // Rounding to blocks would write zeros over what is inherited.
  StatusOrFailure check_blocks(std::uint64_t offset, std::uint64_t length) const {
    const std::uint64_t end = offset + length;
    if (offset % kBlockBytes == 0 && (end % kBlockBytes == 0 || end == size_bytes_)) return {};
    return Failure{EINVAL, fmt::format("its content has a piece at {}+{} that is not of whole 4 KiB blocks",
                                       offset, length)};
  }

  // Of a delta file: zeros in place of what would be inherited.
  StatusOrFailure add_hole(std::uint64_t offset, std::uint64_t length) {
    VARVE_RETURN_IF_ERROR(end_range());
    content_.extents.push_back(
        StoredExtent{.file_offset = offset, .length = length, .place = {}, .frames = 0});
    position_ = offset + length;
    return {};
  }

  // Bytes that a parent has. What lies before them ends at a block or in a hole.
  StatusOrFailure add_held(const Chunk& chunk, const ParentPlace& at) {
    VARVE_RETURN_IF_ERROR(end_range());
    hash_hole(chunk.offset_bytes - position_);
    if (!delta_) hasher().update(chunk.bytes);
    const std::uint64_t length = chunk.bytes.size();
    note_held(StoredExtent{.file_offset = chunk.offset_bytes,
                           .length = length,
                           .place = {.number = at.frame, .offset = at.offset_bytes, .packed = false},
                           .frames = 1,
                           .source = static_cast<std::uint16_t>(at.parent + 1),
                           .run_frame_bytes = at.run_frame_bytes});
    position_ = chunk.offset_bytes + length;
    content_.data_bytes += length;
    content_.parent_bytes += length;
    return {};
  }

  // Lengthens the extent before, where the parent holds both in a row.
  void note_held(const StoredExtent& held) {
    // From the start of the first frame, of a run as of a frame alone.
    const auto position_of = [](const StoredExtent& extent) {
      return extent.place.number * extent.run_frame_bytes + extent.place.offset;
    };
    if (!content_.extents.empty()) {
      StoredExtent& last = content_.extents.back();
      const bool same_frames = last.source == held.source && last.run_frame_bytes == held.run_frame_bytes &&
                               (held.run_frame_bytes != 0 || last.place.number == held.place.number);
      if (same_frames && last.file_offset + last.length == held.file_offset &&
          position_of(last) + last.length == position_of(held)) {
        last.length += held.length;
        return;
      }
    }
    content_.extents.push_back(held);
  }

  // The usual case: a small file in one chunk. One hash serves as its digest and to find its copies.
  StatusOrFailure add_whole_file(std::span<const std::byte> bytes) {
    const format::Hash128 hash = format::xxh3_128(bytes);
    VARVE_ASSIGN(const StoredPlace place, store_.add_packed(bytes, hash));
    note(bytes.size(), place);
    position_ = content_.data_bytes = bytes.size();
    content_.digest = hash;
    return {};
  }

  // Made when it is needed: for most files it never is.
  format::ContentHasher& hasher() {
    if (!hasher_) hasher_.emplace();
    return *hasher_;
  }

  // Data begins and ends at blocks: what is left of the first and last block of a hole becomes zeros.
  StatusOrFailure move_to(std::uint64_t offset) {
    const std::uint64_t gap = offset - position_;
    hash_hole(gap);
    if (in_range_ && block_start(offset) <= range_end_rounded()) return append_zeros(gap);
    VARVE_RETURN_IF_ERROR(end_range());
    in_range_ = true;
    range_is_large_ = false;
    piece_offset_ = block_start(offset);
    return append_zeros(offset - piece_offset_);
  }

  std::uint64_t range_end_rounded() const {
    return std::min(checked_round_up<std::uint64_t>(position_, kBlockBytes).value_or(size_bytes_),
                    size_bytes_);
  }

  void hash_hole(std::uint64_t count) {
    hole_bytes_ = checked_add(hole_bytes_, count).value_or(UINT64_MAX);
    if (count > 0 && hole_bytes_ <= kMaxHashedHoleBytes) hasher().update_zeros(count);
  }

  StatusOrFailure append_zeros(std::uint64_t count) {
    static constexpr std::array<std::byte, 2 * kBlockBytes> kZeros{};
    VARVE_CHECK(count <= kZeros.size());
    return append(std::span(kZeros).first(count));
  }

  StatusOrFailure append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (piece_.empty() && bytes.size() >= frame_bytes_) {
        VARVE_RETURN_IF_ERROR(store_piece(bytes.first(frame_bytes_)));
        bytes = bytes.subspan(frame_bytes_);
        continue;
      }
      const std::size_t count = std::min<std::size_t>(bytes.size(), frame_bytes_ - piece_.size());
      piece_.insert(piece_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
      bytes = bytes.subspan(count);
      if (piece_.size() == frame_bytes_) VARVE_RETURN_IF_ERROR(store_held());
    }
    return {};
  }

  StatusOrFailure end_range() {
    if (!in_range_) return {};
    VARVE_RETURN_IF_ERROR(append_zeros(range_end_rounded() - position_));
    if (!piece_.empty()) VARVE_RETURN_IF_ERROR(store_held());
    in_range_ = false;
    return {};
  }

  StatusOrFailure store_held() {
    VARVE_RETURN_IF_ERROR(store_piece(piece_));
    piece_.clear();
    return {};
  }

  StatusOrFailure store_piece(std::span<const std::byte> piece) {
    const std::uint64_t length = piece.size();
    range_is_large_ = range_is_large_ || length == frame_bytes_;
    const bool own_frame = length == frame_bytes_ || (range_is_large_ && length >= kLargeTailBytes);
    StoredPlace place;
    if (own_frame) {
      VARVE_ASSIGN(place, store_.add_frame(piece));
    } else {
      VARVE_ASSIGN(place, store_.add_packed(piece, format::xxh3_128(piece)));
    }
    note(length, place);
    piece_offset_ += length;
    content_.data_bytes += length;
    return {};
  }

  // Lengthens the run of the extent before, where the frames follow each other.
  void note(std::uint64_t length, const StoredPlace& place) {
    if (!content_.extents.empty()) {
      StoredExtent& last = content_.extents.back();
      const bool continues = last.source == 0 && last.frames != 0 && !last.place.packed && !place.packed &&
                             place.number == last.place.number + last.frames &&
                             last.length == last.frames * frame_bytes_ &&
                             last.file_offset + last.length == piece_offset_;
      if (continues) {
        last.length += length;
        ++last.frames;
        return;
      }
    }
    content_.extents.push_back(
        StoredExtent{.file_offset = piece_offset_, .length = length, .place = place, .frames = 1});
  }

  const std::uint64_t size_bytes_;
  const std::uint32_t frame_bytes_;
  const bool delta_;
  LayerContentStore& store_;
  StoredContent content_;
  std::optional<format::ContentHasher> hasher_;
  std::uint64_t position_ = 0;  // end of the last chunk
  std::uint64_t hole_bytes_ = 0;
  bool in_range_ = false;           // between two holes
  bool range_is_large_ = false;     // the range had a full frame
  Bytes piece_;                     // of the range, not yet stored
  std::uint64_t piece_offset_ = 0;  // of piece_ in the file
};

}  // namespace

ResultOrFailure<StoredContent> read_content(ContentSource& source, std::uint64_t size_bytes, bool delta,
                                            LayerContentStore& store) {
  return ContentReader(size_bytes, delta, store).read(source);
}

}  // namespace varve::image
