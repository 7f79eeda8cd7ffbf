#include "fs/layer/file_pieces.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "fs/base/checked.h"
#include "fs/base/log.h"
#include "fs/layer/layer_file.h"

namespace varve::layer {
namespace {

using format::Extent;
using format::ExtentKind;

// One file of a chain of delta files: the file itself, then what each inherits from.
struct Link {
  const LayerFile* layer = nullptr;
  LowerId file;
  const format::Inode* inode = nullptr;
};

Errno damaged(const Link& link, std::string_view why) {
  const auto path = link.layer->path_of(link.file);
  log_error("layer {}: file {}: {}", link.layer->name(), path.ok() ? *path : "(unknown)", why);
  return Errno{EIO};
}

std::vector<Extent> extents_of(const Link& link) {
  if ((link.inode->flags & format::kInodeInlineExtent) != 0) {
    Extent extent{};
    extent.length = link.inode->size;
    extent.source_word = link.inode->payload_a;
    extent.in_frame_offset = link.inode->payload_b;
    return {extent};
  }
  const auto range = link.layer->tables().file_extents(*link.inode);
  return range ? std::vector<Extent>(range->begin(), range->end()) : std::vector<Extent>();
}

// Validation at open has checked this for frames of the layer itself; those of a parent are seen here first.
bool holds(const format::LayerTables& tables, const Piece& piece) {
  const std::uint64_t frames =
      piece.run_frame_bytes == 0 ? 1 : (piece.start_bytes + piece.size_bytes - 1) / piece.run_frame_bytes + 1;
  if (piece.run_frame_bytes != 0 && piece.start_bytes >= piece.run_frame_bytes) return false;
  if (!range_within<std::uint64_t>(piece.frame, frames, tables.frames.size())) return false;
  for (std::uint64_t i = 0; i + 1 < frames; ++i) {
    if (tables.frames[piece.frame + i].content_size != piece.run_frame_bytes) return false;
  }
  const std::uint64_t in_last = piece.start_bytes + piece.size_bytes - (frames - 1) * piece.run_frame_bytes;
  return in_last <= tables.frames[piece.frame + frames - 1].content_size;
}

Result<Piece> piece_of(const Link& link, const Extent& extent) {
  const std::uint64_t word = extent.source_word;
  Piece piece{.file_offset = extent.file_offset,
              .size_bytes = extent.length,
              .layer = link.layer,
              .owner = link.file,
              .frame = format::extent_frame(word),
              .start_bytes = extent.in_frame_offset,
              .run_frame_bytes = 0};
  const std::uint16_t source = format::extent_source(word);
  if (source != 0) {
    piece.layer = link.layer->parent(source);
    piece.owner = LowerId{0};
    if (piece.layer == nullptr) return damaged(link, link.layer->missing_parent(source));
  }
  if (format::extent_kind(word) == ExtentKind::kDataRun) {
    piece.run_frame_bytes = piece.layer->tables().run_frame_bytes;
  }
  if (source != 0 && !holds(piece.layer->tables(), piece)) {
    return damaged(link, "its parent layer does not hold the frames that it refers to");
  }
  return piece;
}

// The part of `piece` between the offsets `from` and `to`. Requires: they lie within it.
Piece part_of(const Piece& piece, std::uint64_t from, std::uint64_t to) {
  Piece part = piece;
  part.start_bytes += from - piece.file_offset;
  part.file_offset = from;
  part.size_bytes = to - from;
  return part;
}

// What of `below`, which ascends, lies in [from, to), is appended to `out`. `next` moves on over `below`.
void take_below(const std::vector<Piece>& below, std::size_t& next, std::uint64_t from, std::uint64_t to,
                std::vector<Piece>& out) {
  while (next < below.size() && below[next].end() <= from) ++next;
  for (std::size_t i = next; i < below.size() && below[i].file_offset < to; ++i) {
    out.push_back(part_of(below[i], std::max(from, below[i].file_offset), std::min(to, below[i].end())));
  }
}

// `link`'s own extents over what it inherits.
Result<std::vector<Piece>> lay_over(const Link& link, const std::vector<Piece>& below) {
  std::vector<Piece> pieces;
  std::size_t next = 0;
  std::uint64_t position = 0;
  for (const Extent& extent : extents_of(link)) {
    take_below(below, next, position, extent.file_offset, pieces);
    position = extent.file_offset + extent.length;
    if (format::extent_kind(extent.source_word) == ExtentKind::kHole) continue;
    VARVE_ASSIGN(Piece piece, piece_of(link, extent));
    pieces.push_back(piece);
  }
  take_below(below, next, position, link.inode->size, pieces);
  return pieces;
}

Result<Link> link_to(const LayerFile& layer, LowerId file) {
  const format::Inode* inode = layer.tables().inode(file.value());
  if (inode == nullptr) return Errno{EIO};
  if (!S_ISREG(inode->mode)) return Errno{S_ISDIR(inode->mode) ? EISDIR : EINVAL};
  return Link{&layer, file, inode};
}

// The file that the delta file `link` inherits from.
Result<Link> base_of(const Link& link) {
  const format::Origin* origin = link.layer->tables().origin(*link.inode);
  if (origin == nullptr) return Errno{EIO};
  const LayerFile* parent = link.layer->parent(origin->parent);
  if (parent == nullptr) return damaged(link, link.layer->missing_parent(origin->parent));
  const Result<Link> base = link_to(*parent, LowerId{origin->inode});
  if (!base.ok()) return damaged(link, "its parent layer does not hold the file that it inherits from");
  const format::Digest* digest = parent->tables().digest(*base->inode);
  const bool as_written = digest == nullptr || digest->xxh3_128 == origin->base_digest ||
                          origin->base_digest == format::Hash128{};
  if (!as_written) return damaged(link, "its parent layer holds another content than it was written against");
  return *base;
}

}  // namespace

Result<std::vector<Piece>> pieces_of(const LayerFile& layer, LowerId file) {
  VARVE_ASSIGN(const Link top, link_to(layer, file));
  // Parents lie below their children, so the chain ends.
  std::vector<Link> chain = {top};
  while ((chain.back().inode->flags & format::kInodeDelta) != 0) {
    VARVE_ASSIGN(const Link base, base_of(chain.back()));
    chain.push_back(base);
  }
  std::vector<Piece> pieces;
  for (auto link = chain.rbegin(); link != chain.rend(); ++link) {
    VARVE_ASSIGN(pieces, lay_over(*link, pieces));
  }
  return pieces;
}

}  // namespace varve::layer
