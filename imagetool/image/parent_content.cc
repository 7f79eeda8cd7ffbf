#include "imagetool/image/parent_content.h"

#include <algorithm>
#include <cstring>

#include "fs/base/checked.h"
#include "fs/format/layer_layout.h"
#include "imagetool/image/writer/layer_content_reader.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;
constexpr std::uint64_t kWindowBytes = 1 << 20;

}  // namespace

ParentContent::ParentContent(ContentSource& content, std::uint64_t size_bytes, const layer::LowerFile& base,
                             std::string name)
    : content_(content),
      size_bytes_(size_bytes),
      base_(base),
      name_(std::move(name)),
      window_(std::min(size_bytes, kWindowBytes)),
      base_window_(window_.size()) {}

ResultOrFailure<std::optional<Chunk>> ParentContent::next() {
  for (;;) {
    const auto at = [&](std::uint64_t block) {
      return block < blocks_.size() ? blocks_[block] : Block::kInherited;
    };
    while (next_block_ < blocks_.size() && at(next_block_) == Block::kInherited) ++next_block_;
    if (next_block_ < blocks_.size()) {
      const std::uint64_t first = next_block_;
      while (next_block_ < blocks_.size() && at(next_block_) == at(first)) ++next_block_;
      const std::uint64_t start = first * kBlockBytes;
      const std::uint64_t length = std::min(next_block_ * kBlockBytes, window_bytes_) - start;
      Chunk chunk{.offset_bytes = window_offset_ + start, .bytes = {}, .hole_bytes = 0};
      if (at(first) == Block::kHole) {
        chunk.hole_bytes = length;
      } else {
        chunk.bytes = std::span<const std::byte>(window_).subspan(start, length);
      }
      return std::optional<Chunk>(chunk);
    }
    if (window_offset_ + window_bytes_ >= size_bytes_) return std::optional<Chunk>();
    VARVE_RETURN_IF_ERROR(load_window());
  }
}

StatusOrFailure ParentContent::advance_chunk() {
  if (content_ended_ || (chunk_ && !chunk_->bytes.empty())) return {};
  VARVE_ASSIGN(chunk_, content_.next());
  content_ended_ = !chunk_.has_value();
  return {};
}

StatusOrFailure ParentContent::load_window() {
  window_offset_ += window_bytes_;
  VARVE_RETURN_IF_ERROR(skip_holes());
  window_bytes_ = std::min(kWindowBytes, size_bytes_ - window_offset_);
  next_block_ = 0;
  blocks_.assign((window_bytes_ + kBlockBytes - 1) / kBlockBytes, Block::kHole);
  if (window_bytes_ == 0) return {};
  VARVE_RETURN_IF_ERROR(fill_window());
  return compare_window();
}

// A file of exabytes may be nothing but holes.
StatusOrFailure ParentContent::skip_holes() {
  VARVE_RETURN_IF_ERROR(advance_chunk());
  const std::uint64_t data = content_ended_ ? size_bytes_ : chunk_->offset_bytes;
  if (data < window_offset_ + kWindowBytes) return {};
  const Result<std::optional<layer::Range>> below = base_.next_data(window_offset_);
  if (!below.ok()) return failure_from(below.error(), name_);
  const std::uint64_t next = std::min(data, below->has_value() ? (*below)->offset_bytes : size_bytes_);
  const std::uint64_t target = next >= size_bytes_ ? size_bytes_ : next / kWindowBytes * kWindowBytes;
  if (target <= window_offset_) return {};
  const std::uint64_t hole = target - window_offset_;
  hashed_hole_bytes_ = checked_add(hashed_hole_bytes_, hole).value_or(UINT64_MAX);
  if (hashed_hole_bytes_ <= kMaxHashedHoleBytes) hasher_.update_zeros(hole);
  window_offset_ = target;
  return {};
}

StatusOrFailure ParentContent::fill_window() {
  std::memset(window_.data(), 0, window_bytes_);
  const std::uint64_t end = window_offset_ + window_bytes_;
  for (;;) {
    VARVE_RETURN_IF_ERROR(advance_chunk());
    if (content_ended_ || chunk_->offset_bytes >= end) break;
    if (chunk_->offset_bytes < window_offset_) {
      return Failure{EINVAL, "its content has pieces that overlap or are out of order"};
    }
    const std::uint64_t start = chunk_->offset_bytes - window_offset_;
    const std::uint64_t count = std::min<std::uint64_t>(chunk_->bytes.size(), window_bytes_ - start);
    std::memcpy(window_.data() + start, chunk_->bytes.data(), count);
    for (std::uint64_t block = start / kBlockBytes; block * kBlockBytes < start + count; ++block) {
      blocks_[block] = Block::kData;
    }
    chunk_->bytes = chunk_->bytes.subspan(count);
    chunk_->offset_bytes += count;
  }
  if (hashed_hole_bytes_ <= kMaxHashedHoleBytes) {
    hasher_.update(std::span<const std::byte>(window_).first(window_bytes_));
  }
  data_blocks_ += static_cast<std::uint64_t>(std::count(blocks_.begin(), blocks_.end(), Block::kData));
  return {};
}

StatusOrFailure ParentContent::compare_window() {
  std::uint64_t have = 0;
  while (have < window_bytes_) {
    const Result<std::size_t> got =
        base_.read(window_offset_ + have, std::span(base_window_).subspan(have, window_bytes_ - have));
    if (!got.ok()) return failure_from(got.error(), name_);
    if (*got == 0) break;
    have += *got;
  }
  // Behind its end the base is zeros.
  std::memset(base_window_.data() + have, 0, window_bytes_ - have);
  for (std::uint64_t block = 0; block < blocks_.size(); ++block) {
    const std::uint64_t start = block * kBlockBytes;
    const std::uint64_t length = std::min(kBlockBytes, window_bytes_ - start);
    if (std::memcmp(window_.data() + start, base_window_.data() + start, length) == 0)
      blocks_[block] = Block::kInherited;
  }
  join_short_runs();
  inherited_blocks_ +=
      static_cast<std::uint64_t>(std::count(blocks_.begin(), blocks_.end(), Block::kInherited));
  return {};
}

void ParentContent::join_short_runs() {
  std::size_t run = 0;  // equal blocks since the last changed one
  bool changed_before = false;
  for (std::size_t block = 0; block < blocks_.size(); ++block) {
    if (blocks_[block] == Block::kInherited) {
      ++run;
      continue;
    }
    if (changed_before && run < kLeastInheritedBlocks && blocks_[block] == Block::kData) {
      std::fill(blocks_.begin() + static_cast<std::ptrdiff_t>(block - run),
                blocks_.begin() + static_cast<std::ptrdiff_t>(block), Block::kData);
    }
    changed_before = blocks_[block] == Block::kData;
    run = 0;
  }
}

std::optional<format::Hash128> ParentContent::whole_digest() const {
  if (hashed_hole_bytes_ > kMaxHashedHoleBytes) return std::nullopt;
  return hasher_.digest();
}

}  // namespace varve::image
