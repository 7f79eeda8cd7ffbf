#include "fs/layer/extent_file.h"

#include <algorithm>
#include <cstring>

#include "fs/layer/layer_file.h"

namespace varve::layer {
namespace {

// Fills `out`, which lies within `piece`, from `offset_bytes` of the piece on.
Status read_piece(const Piece& piece, std::uint64_t offset_bytes, std::span<std::byte> out) {
  std::uint64_t position = piece.start_bytes + offset_bytes;
  while (!out.empty()) {
    const bool is_run = piece.run_frame_bytes != 0;
    const std::uint64_t frame = is_run ? piece.frame + position / piece.run_frame_bytes : piece.frame;
    const std::uint64_t start = is_run ? position % piece.run_frame_bytes : position;
    VARVE_ASSIGN(const std::size_t size, piece.layer->frame_bytes(frame, piece.owner));
    if (!frame_holds(piece, frame, size)) return piece.layer->refuse_frame(frame, piece.owner);
    VARVE_ASSIGN(const std::size_t count,
                 piece.layer->read_frame({.frame = frame, .start_bytes = start, .file = piece.owner}, out));
    out = out.subspan(count);
    position += count;
  }
  return {};
}

}  // namespace

std::vector<Piece>::const_iterator ExtentFile::first_piece(std::uint64_t offset_bytes) const {
  return std::partition_point(pieces_.begin(), pieces_.end(),
                              [&](const Piece& piece) { return piece.end() <= offset_bytes; });
}

Result<std::size_t> ExtentFile::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (offset_bytes >= size_bytes_) return std::size_t{0};
  out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_bytes_ - offset_bytes)));
  const std::size_t total = out.size();
  auto piece = first_piece(offset_bytes);
  while (!out.empty()) {
    const bool in_piece = piece != pieces_.end() && piece->file_offset <= offset_bytes;
    const std::uint64_t end = piece == pieces_.end() ? size_bytes_
                              : in_piece             ? piece->end()
                                                     : piece->file_offset;
    const auto part =
        out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), end - offset_bytes)));
    if (in_piece) {
      VARVE_RETURN_IF_ERROR(read_piece(*piece, offset_bytes - piece->file_offset, part));
      ++piece;
    } else {
      std::memset(part.data(), 0, part.size());
    }
    offset_bytes += part.size();
    out = out.subspan(part.size());
  }
  return total;
}

Result<std::optional<Range>> ExtentFile::next_data(std::uint64_t offset_bytes) const {
  auto piece = first_piece(offset_bytes);
  if (piece == pieces_.end()) return std::optional<Range>();
  const std::uint64_t start = std::max(offset_bytes, piece->file_offset);
  std::uint64_t end = piece->end();
  for (++piece; piece != pieces_.end() && piece->file_offset == end; ++piece) end = piece->end();
  return std::optional<Range>(Range{start, end - start});
}

}  // namespace varve::layer
