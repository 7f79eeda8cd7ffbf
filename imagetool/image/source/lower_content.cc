#include "imagetool/image/source/lower_content.h"

#include <algorithm>

#include "fs/format/layer_layout.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kPieceBytes = 1 << 20;
constexpr std::uint64_t kBlockBytes = 1ULL << format::kBlockLog2;

}  // namespace

ResultOrFailure<std::optional<Chunk>> LowerContent::next() {
  if (monitor_.cancelled()) return cancelled_failure();
  for (; next_ < what_.ranges.size(); ++next_, done_bytes_ = 0) {
    const layer::Range& range = what_.ranges[next_];
    const std::uint64_t offset = range.offset_bytes + done_bytes_;
    const std::uint64_t end = range.offset_bytes + range.size_bytes;
    if (offset >= end) continue;
    const Result<std::optional<layer::Range>> data = file_.next_data(offset);
    if (!data.ok()) return failure_from(data.error(), what_.path);
    const std::uint64_t start =
        data->has_value() ? std::clamp((*data)->offset_bytes / kBlockBytes * kBlockBytes, offset, end) : end;
    if (start > offset) {
      done_bytes_ = start - range.offset_bytes;
      if (what_.is_delta) {
        return std::optional(Chunk{.offset_bytes = offset, .bytes = {}, .hole_bytes = start - offset});
      }
    }
    if (start == end) continue;
    const std::uint64_t data_end = (*data)->offset_bytes + (*data)->size_bytes;
    const std::uint64_t rest = (kBlockBytes - data_end % kBlockBytes) % kBlockBytes;
    VARVE_ASSIGN(const std::size_t count, read(start, std::min(end - start, data_end + rest - start)));
    done_bytes_ = start + count - range.offset_bytes;
    return std::optional(
        Chunk{.offset_bytes = start, .bytes = std::span(buffer_).first(count), .hole_bytes = 0});
  }
  return std::optional<Chunk>();
}

ResultOrFailure<std::size_t> LowerContent::read(std::uint64_t offset, std::uint64_t most) {
  // All of it: what is inherited is described in whole blocks.
  const std::size_t count = static_cast<std::size_t>(std::min(most, kPieceBytes));
  if (buffer_.size() < count) buffer_.resize(count);
  const Result<std::size_t> got = file_.read(offset, std::span(buffer_).first(count));
  if (!got.ok()) return failure_from(got.error(), what_.path);
  if (*got != count) return Failure{EIO, what_.path + ": ends before its size"};
  monitor_.advance(count);
  return count;
}

}  // namespace varve::image
