#include "imagetool/image/chunk/chunked_content.h"

#include <algorithm>

#include "fs/format/layer_layout.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;
// Of a parent read at once to compare.
constexpr std::size_t kCompareBytes = std::size_t{64} << 10;

std::uint64_t round_down(std::uint64_t offset) {
  return offset / kBlockBytes * kBlockBytes;
}
// Requires: a sum that does not overflow; offsets in files are below 2^63.
std::uint64_t round_up(std::uint64_t offset) {
  return round_down(offset + kBlockBytes - 1);
}

}  // namespace

ChunkedContent::ChunkedContent(ContentSource& content, std::uint64_t size_bytes, ParentChunks& chunks)
    : content_(content), size_bytes_(size_bytes), chunks_(chunks) {}

ResultOrFailure<std::optional<Chunk>> ChunkedContent::next() {
  held_at_.reset();
  if (given_ == window_.size()) {
    VARVE_RETURN_IF_ERROR(advance_chunk());
    if (!chunk_) return std::optional<Chunk>();
    if (chunk_->bytes.empty()) return std::exchange(chunk_, std::nullopt);
    VARVE_RETURN_IF_ERROR(load_window());
    VARVE_RETURN_IF_ERROR(find_matches());
  }
  const std::size_t begin = given_;
  std::size_t end = held_.empty() ? window_.size() : held_.front().begin;
  if (begin == end) {
    end = held_.front().end;
    held_at_ = held_.front().place;
    held_.pop_front();
  }
  given_ = end;
  return std::optional<Chunk>(Chunk{.offset_bytes = window_offset_ + begin,
                                    .bytes = std::span<const std::byte>(window_).subspan(begin, end - begin),
                                    .hole_bytes = 0});
}

StatusOrFailure ChunkedContent::advance_chunk() {
  while (!content_ended_ && (!chunk_ || (chunk_->bytes.empty() && chunk_->hole_bytes == 0))) {
    VARVE_ASSIGN(chunk_, content_.next());
    content_ended_ = !chunk_.has_value();
  }
  return {};
}

StatusOrFailure ChunkedContent::load_window() {
  window_offset_ = chunk_->offset_bytes;
  window_.clear();
  given_ = 0;
  while (chunk_ && !chunk_->bytes.empty() && chunk_->offset_bytes == window_offset_ + window_.size()) {
    const std::size_t count = std::min(chunk_->bytes.size(), kWindowBytes - window_.size());
    if (count == 0) break;
    window_.insert(window_.end(), chunk_->bytes.begin(),
                   chunk_->bytes.begin() + static_cast<std::ptrdiff_t>(count));
    chunk_->bytes = chunk_->bytes.subspan(count);
    chunk_->offset_bytes += count;
    if (chunk_->bytes.empty()) {
      chunk_.reset();
      VARVE_RETURN_IF_ERROR(advance_chunk());
    }
  }
  return {};
}

StatusOrFailure ChunkedContent::find_matches() {
  const std::span<const std::byte> window(window_);
  matches_.clear();
  std::size_t position = 0;
  VARVE_RETURN_IF_ERROR(continue_match(position));
  std::size_t free_from = position;  // what lies before belongs to a match
  while (position < window.size()) {
    const std::span<const std::byte> chunk =
        window.subspan(position, chunks_.cutter().cut(window.subspan(position)));
    std::size_t equal = 0;
    const std::optional<ParentChunks::Place> place = chunks_.find(chunk);
    if (place) {
      VARVE_ASSIGN(equal, equal_ahead(place->file, place->offset_bytes, window.subspan(position)));
    }
    if (equal < chunk.size()) {
      position += chunk.size();
      continue;
    }
    VARVE_ASSIGN(const std::size_t before, equal_before(place->file, place->offset_bytes,
                                                        window.subspan(free_from, position - free_from)));
    matches_.push_back(Match{position - before, position + equal, place->file, place->offset_bytes - before});
    position = free_from = position + equal;
  }
  open_match_.reset();
  for (const Match& match : matches_) VARVE_RETURN_IF_ERROR(place_match(match));
  if (!matches_.empty() && matches_.back().end == window.size()) {
    const Match& last = matches_.back();
    open_match_ = Open{window_offset_ + last.end, last.file, last.offset_bytes + (last.end - last.begin)};
  }
  keep_longest();
  return {};
}

StatusOrFailure ChunkedContent::continue_match(std::size_t& position) {
  if (!open_match_ || open_match_->file_offset != window_offset_) return {};
  VARVE_ASSIGN(position, equal_ahead(open_match_->file, open_match_->offset_bytes, window_));
  if (position > 0) matches_.push_back(Match{0, position, open_match_->file, open_match_->offset_bytes});
  return {};
}

ResultOrFailure<std::span<const std::byte>> ChunkedContent::read_parent(std::uint32_t file,
                                                                        std::uint64_t offset_bytes,
                                                                        std::size_t size_bytes) {
  VARVE_ASSIGN(const ParentChunks::OpenFile* open, chunks_.open(file));
  parent_bytes_.resize(kCompareBytes);
  std::size_t have = 0;
  while (have < size_bytes) {
    const Result<std::size_t> got =
        open->content->read(offset_bytes + have, std::span(parent_bytes_).subspan(have, size_bytes - have));
    if (!got.ok()) return failure_from(got.error(), open->name);
    if (*got == 0) break;
    have += *got;
  }
  return std::span<const std::byte>(parent_bytes_).first(have);
}

ResultOrFailure<std::size_t> ChunkedContent::equal_ahead(std::uint32_t file, std::uint64_t offset_bytes,
                                                         std::span<const std::byte> bytes) {
  std::size_t equal = 0;
  while (equal < bytes.size()) {
    const auto ours = bytes.subspan(equal, std::min(kCompareBytes, bytes.size() - equal));
    VARVE_ASSIGN(const std::span<const std::byte> theirs,
                 read_parent(file, offset_bytes + equal, ours.size()));
    const auto differ = std::mismatch(theirs.begin(), theirs.end(), ours.begin());
    equal += static_cast<std::size_t>(differ.first - theirs.begin());
    if (differ.first != theirs.end() || theirs.size() < ours.size()) break;
  }
  return equal;
}

ResultOrFailure<std::size_t> ChunkedContent::equal_before(std::uint32_t file, std::uint64_t offset_bytes,
                                                          std::span<const std::byte> bytes) {
  std::size_t equal = 0;
  const std::size_t most = std::min<std::uint64_t>(bytes.size(), offset_bytes);
  while (equal < most) {
    const std::size_t count = std::min(kCompareBytes, most - equal);
    const auto ours = bytes.subspan(bytes.size() - equal - count, count);
    VARVE_ASSIGN(const std::span<const std::byte> theirs,
                 read_parent(file, offset_bytes - equal - count, count));
    if (theirs.size() < count) break;
    const auto differ = std::mismatch(theirs.rbegin(), theirs.rend(), ours.rbegin());
    equal += static_cast<std::size_t>(differ.first - theirs.rbegin());
    if (differ.first != theirs.rend()) break;
  }
  return equal;
}

StatusOrFailure ChunkedContent::place_match(const Match& match) {
  VARVE_ASSIGN(const ParentChunks::OpenFile* open, chunks_.open(match.file));
  const std::uint64_t ends = match.offset_bytes + (match.end - match.begin);
  auto piece = std::partition_point(
      open->pieces.begin(), open->pieces.end(),
      [&](const layer::Piece& candidate) { return candidate.end() <= match.offset_bytes; });
  for (; piece != open->pieces.end() && piece->file_offset < ends; ++piece) {
    const std::optional<std::uint16_t> parent = chunks_.index_of(piece->layer);
    if (!parent) continue;
    // In the new file. To whole blocks, but at its end.
    const std::uint64_t shift = window_offset_ + match.begin;
    const std::uint64_t first =
        shift + (std::max(piece->file_offset, match.offset_bytes) - match.offset_bytes);
    const std::uint64_t last = shift + (std::min(piece->end(), ends) - match.offset_bytes);
    const std::uint64_t begin = round_up(first);
    const std::uint64_t end = last == size_bytes_ ? last : round_down(last);
    const bool continues = begin == held_end_ && begin == window_offset_;
    if (begin >= end || (end - begin < kLeastHeldBytes && !continues)) continue;
    std::uint64_t start = piece->start_bytes + (match.offset_bytes + (begin - shift) - piece->file_offset);
    ParentPlace place{.parent = *parent,
                      .frame = piece->frame,
                      .offset_bytes = 0,
                      .run_frame_bytes = static_cast<std::uint32_t>(piece->run_frame_bytes)};
    if (place.run_frame_bytes != 0) {
      place.frame += start / place.run_frame_bytes;
      start %= place.run_frame_bytes;
    }
    place.offset_bytes = static_cast<std::uint32_t>(start);
    held_.push_back(Held{static_cast<std::size_t>(begin - window_offset_),
                         static_cast<std::size_t>(end - window_offset_), place});
  }
  return {};
}

void ChunkedContent::keep_longest() {
  if (const std::uint64_t stripe = window_offset_ / kWindowBytes; stripe != stripe_) {
    stripe_ = stripe;
    held_in_stripe_ = 0;
  }
  const std::size_t most = std::min(kMostHeld - held_in_stripe_,
                                    std::max<std::size_t>(2, kMostHeld * window_.size() / kWindowBytes));
  while (held_.size() > most) {
    held_.erase(std::min_element(held_.begin(), held_.end(), [](const Held& a, const Held& b) {
      return a.end - a.begin < b.end - b.begin;
    }));
  }
  held_in_stripe_ += held_.size();
  held_end_ = held_.empty() ? 0 : window_offset_ + held_.back().end;
}

}  // namespace varve::image
