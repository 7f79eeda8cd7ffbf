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

// Frames of a parent are seen here first. Those of a run are looked at when they are read, so that opening is cheap.
Status check_frames_of(const Link& link, const Piece& piece) {
  const format::LayerTables& tables = piece.layer->tables();
  constexpr std::string_view kMissing = "its parent layer does not hold the frames that it refers to";
  const std::uint64_t frames =
      piece.run_frame_bytes == 0 ? 1 : (piece.start_bytes + piece.size_bytes - 1) / piece.run_frame_bytes + 1;
  if (piece.run_frame_bytes != 0 && piece.start_bytes >= piece.run_frame_bytes)
    return damaged(link, kMissing);
  if (!range_within<std::uint64_t>(piece.frame, frames, tables.frames.size())) return damaged(link, kMissing);
  if (frames > 1) return {};
  const auto record = tables.frame(piece.frame);
  if (!record.ok()) return Errno{EIO};
  if (!frame_holds(piece, piece.frame, (*record)->content_size)) return damaged(link, kMissing);
  return {};
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
    VARVE_CHECK(piece.layer != nullptr);  // chain_of() looked
  }
  if (format::extent_kind(word) == ExtentKind::kDataRun) {
    piece.run_frame_bytes = piece.layer->tables().run_frame_bytes;
  }
  if (source != 0) VARVE_RETURN_IF_ERROR(check_frames_of(link, piece));
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
  VARVE_ASSIGN(const std::vector<Extent> extents, link.layer->extents(link.file));
  for (const Extent& extent : extents) {
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
  VARVE_ASSIGN(const format::Inode* inode, layer.inode(file));
  if (!S_ISREG(inode->mode)) return Errno{S_ISDIR(inode->mode) ? EISDIR : EINVAL};
  return Link{&layer, file, inode};
}

// The PARENT of which `link`'s own extents name frames, and which is not at hand; 0: none.
Result<std::uint16_t> missing_source(const Link& link) {
  if ((link.layer->tables().incompat & format::kIncompatParentFrames) == 0) return std::uint16_t{0};
  VARVE_ASSIGN(const std::vector<Extent> extents, link.layer->extents(link.file));
  for (const Extent& extent : extents) {
    const std::uint16_t source = format::extent_source(extent.source_word);
    if (source != 0 && link.layer->parent(source) == nullptr) return source;
  }
  return std::uint16_t{0};
}

// Adds to `chain` what its last file, `link`, inherits from. Returns: that file; empty when the chain ends here.
std::optional<Link> follow(const Link& link, FileChain& chain) {
  const auto ends = [&](FileChain::End end, std::string why) {
    chain.end = end;
    chain.why = std::move(why);
    return std::optional<Link>();
  };
  const Result<std::uint16_t> source = missing_source(link);
  if (!source.ok()) return ends(FileChain::End::kDamaged, "its extents are damaged");
  if (*source != 0) return ends(FileChain::End::kMissingParent, link.layer->missing_parent(*source));
  if ((link.inode->flags & format::kInodeDelta) == 0) return std::nullopt;
  const Result<const format::Origin*> found = link.layer->origin(link.file);
  if (!found.ok() || *found == nullptr) {
    return ends(FileChain::End::kDamaged, "it does not say what it inherits from");
  }
  const format::Origin* origin = *found;
  const LayerFile* parent = link.layer->parent(origin->parent);
  if (parent == nullptr) {
    return ends(FileChain::End::kMissingParent, link.layer->missing_parent(origin->parent));
  }
  const Result<Link> base = link_to(*parent, LowerId{origin->inode});
  if (!base.ok()) {
    return ends(FileChain::End::kDamaged, "its parent layer does not hold the file that it inherits from");
  }
  const auto digest = parent->tables().digest(*base->inode);
  if (!digest.ok()) return ends(FileChain::End::kDamaged, "the digest of what it inherits from is damaged");
  const bool as_written = *digest == nullptr || (*digest)->xxh3_128 == origin->base_digest ||
                          origin->base_digest == format::Hash128{};
  if (!as_written) {
    return ends(FileChain::End::kDamaged,
                "its parent layer holds another content than it was written against");
  }
  chain.files.push_back({parent, base->file});
  return *base;
}

}  // namespace

bool frame_holds(const Piece& piece, std::uint64_t frame, std::uint64_t content_bytes) {
  const std::uint64_t end = piece.start_bytes + piece.size_bytes;
  if (piece.run_frame_bytes == 0) return end <= content_bytes;
  const std::uint64_t begin = (frame - piece.frame) * piece.run_frame_bytes;
  if (end - begin <= piece.run_frame_bytes) return end - begin <= content_bytes;
  return content_bytes == piece.run_frame_bytes;
}

Result<FileChain> chain_of(const LayerFile& layer, LowerId file) {
  VARVE_ASSIGN(const Link top, link_to(layer, file));
  FileChain chain;
  chain.files.push_back({&layer, file});
  // Parents lie below their children, so the chain ends.
  for (std::optional<Link> link = top; link;) link = follow(*link, chain);
  return chain;
}

Result<std::vector<Piece>> pieces_of(const LayerFile& layer, LowerId file) {
  VARVE_ASSIGN(const FileChain files, chain_of(layer, file));
  std::vector<Link> chain;
  for (const FileChain::File& one : files.files) {
    VARVE_ASSIGN(const Link link, link_to(*one.layer, one.file));
    chain.push_back(link);
  }
  if (files.end != FileChain::End::kComplete) return damaged(chain.back(), files.why);
  std::vector<Piece> pieces;
  for (auto link = chain.rbegin(); link != chain.rend(); ++link) {
    VARVE_ASSIGN(pieces, lay_over(*link, pieces));
  }
  return pieces;
}

}  // namespace varve::layer
