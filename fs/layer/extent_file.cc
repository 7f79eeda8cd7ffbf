#include "fs/layer/extent_file.h"

#include <algorithm>
#include <cstring>

#include "fs/layer/layer_file.h"

namespace varve::layer {
namespace {

using format::Extent;
using format::ExtentKind;

std::uint64_t end_of(const Extent& extent) {
  return extent.file_offset + extent.length;
}

}  // namespace

ExtentFile::ExtentFile(const LayerFile& layer, LowerId id, std::span<const Extent> extents)
    : layer_(layer), id_(id), extents_(extents) {
  const format::Inode& inode = *layer.tables().inode(id.value());
  size_bytes_ = inode.size;
  if ((inode.flags & format::kInodeInlineExtent) != 0) {
    inline_extent_.length = inode.size;
    inline_extent_.source_word = inode.payload_a;
    inline_extent_.in_frame_offset = inode.payload_b;
    extents_ = {&inline_extent_, 1};
  }
}

std::span<const Extent>::iterator ExtentFile::first_extent(std::uint64_t offset_bytes) const {
  return std::partition_point(extents_.begin(), extents_.end(),
                              [&](const Extent& extent) { return end_of(extent) <= offset_bytes; });
}

Result<std::size_t> ExtentFile::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (offset_bytes >= size_bytes_) return std::size_t{0};
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_bytes_ - offset_bytes)));
  const std::size_t total = out.size();
  auto extent = first_extent(offset_bytes);
  while (!out.empty()) {
    const bool in_extent = extent != extents_.end() && extent->file_offset <= offset_bytes;
    const std::uint64_t end = extent == extents_.end() ? size_bytes_
                              : in_extent              ? end_of(*extent)
                                                       : extent->file_offset.get();
    const auto piece =
        out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), end - offset_bytes)));
    if (in_extent && format::extent_kind(extent->source_word) != ExtentKind::kHole) {
      VARVE_RETURN_IF_ERROR(read_extent(*extent, offset_bytes - extent->file_offset, piece));
    } else {
      std::memset(piece.data(), 0, piece.size());
    }
    if (in_extent) ++extent;
    offset_bytes += piece.size();
    out = out.subspan(piece.size());
  }
  return total;
}

Status ExtentFile::read_extent(const Extent& extent, std::uint64_t offset_bytes,
                               std::span<std::byte> out) const {
  const bool is_run = format::extent_kind(extent.source_word) == ExtentKind::kDataRun;
  const std::uint64_t run_frame_bytes = layer_.tables().run_frame_bytes;
  while (!out.empty()) {
    const std::uint64_t first = format::extent_frame(extent.source_word);
    const std::uint64_t frame = is_run ? first + offset_bytes / run_frame_bytes : first;
    const std::uint64_t start =
        is_run ? offset_bytes % run_frame_bytes : extent.in_frame_offset + offset_bytes;
    VARVE_ASSIGN(const BlockPtr block, layer_.frame(frame, id_));
    const auto content = block->bytes();
    // Validation at open ruled this out; metadata that is mapped, not copied, may have changed since.
    if (start >= content.size()) return Errno{EIO};
    const std::size_t count = std::min<std::size_t>(out.size(), content.size() - start);
    std::memcpy(out.data(), content.data() + start, count);
    out = out.subspan(count);
    offset_bytes += count;
  }
  return {};
}

Result<std::optional<Range>> ExtentFile::next_data(std::uint64_t offset_bytes) const {
  std::optional<Range> range;
  for (auto extent = first_extent(offset_bytes); extent != extents_.end(); ++extent) {
    const bool hole = format::extent_kind(extent->source_word) == ExtentKind::kHole;
    if (!range) {
      if (hole) continue;
      const std::uint64_t start = std::max<std::uint64_t>(offset_bytes, extent->file_offset);
      range = Range{start, end_of(*extent) - start};
    } else {
      if (hole || extent->file_offset != range->offset_bytes + range->size_bytes) break;
      range->size_bytes += extent->length;
    }
  }
  return range;
}

}  // namespace varve::layer
