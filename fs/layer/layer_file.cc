#include "fs/layer/layer_file.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

#include "fs/base/log.h"
#include "fs/format/layer_check.h"
#include "fs/layer/extent_file.h"
#include "fs/layer/hidden_names.h"

namespace varve::layer {
namespace {

using format::Dirent;
using format::Inode;

Entry entry_from(const Dirent& entry) {
  if (format::is_whiteout(entry)) return Entry{.kind = Entry::Kind::kWhiteout, .id = {}, .type = 0};
  const std::uint32_t type = DTTOIF(std::uint32_t{entry.type});
  return Entry{.kind = Entry::Kind::kObject, .id = LowerId{entry.inode}, .type = type};
}

}  // namespace

Result<Entry> LayerFile::look_up(LowerId directory_id, Name name) const {
  VARVE_ASSIGN(const Dirent* found, entry(directory_id, name.view()));
  if (found == nullptr) return Entry{};
  note(directory_id, *found);
  return entry_from(*found);
}

Result<DirectoryMark> LayerFile::directory_mark(LowerId directory_id) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  DirectoryMark mark;
  mark.opaque = (record->flags & format::kInodeOpaque) != 0;
  if ((record->flags & format::kInodeRedirect) != 0) {
    VARVE_ASSIGN(const format::Origin* where, origin(directory_id));
    const auto path = tables_.origin_path(*where);
    if (!path.ok()) return missed(path.error());
    mark.redirect = std::string(*path);
  }
  return mark;
}

Status LayerFile::for_each_entry(LowerId directory_id, const EntryVisitor& visit) const {
  VARVE_ASSIGN(const auto range, entries(directory_id));
  for (const Dirent& entry : range) {
    const auto name = tables_.name(entry);
    if (!name.ok()) return missed(name.error());
    if (!visit(*name, entry_from(entry))) break;
  }
  return {};
}

Result<std::optional<std::uint32_t>> LayerFile::subdirectories(LowerId directory_id) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  const std::uint32_t links = record->nlink;
  return links < 2 ? std::nullopt : std::optional(links - 2);
}

// Bytes that are not holes, as st_blocks counts them.
Result<std::uint64_t> LayerFile::data_blocks_512(LowerId file, const Inode& record) const {
  std::uint64_t bytes = 0;
  if ((record.flags & format::kInodeDelta) != 0) {
    bytes = std::uint64_t{record.payload_c} << format::kBlockLog2;
  } else if ((record.flags & format::kInodeInlineExtent) != 0) {
    bytes = record.size;
  } else {
    VARVE_ASSIGN(const auto range, listed_extents(file, record));
    for (const format::Extent& extent : range) {
      if (format::extent_kind(extent.source_word) != format::ExtentKind::kHole) bytes += extent.length;
    }
  }
  return bytes / 512 + (bytes % 512 != 0 ? 1 : 0);
}

Result<Attributes> LayerFile::attributes(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  const Timestamp time{record->mtime_seconds, record->mtime_nanoseconds};
  Attributes attributes{.mode = record->mode,
                        .nlink = record->nlink,
                        .uid = record->uid,
                        .gid = record->gid,
                        .rdev = 0,
                        .size_bytes = record->size,
                        .blocks_512 = 0,
                        .atime = time,
                        .mtime = time,
                        .ctime = time};
  if (S_ISCHR(record->mode) || S_ISBLK(record->mode)) {
    attributes.rdev = makedev(static_cast<unsigned>(record->size >> 32), static_cast<unsigned>(record->size));
    attributes.size_bytes = 0;
  } else if (S_ISREG(record->mode)) {
    VARVE_ASSIGN(attributes.blocks_512, data_blocks_512(id, *record));
  }
  return attributes;
}

Result<std::uint64_t> LayerFile::inode_number(LowerId id) const {
  VARVE_RETURN_IF_ERROR(inode(id));
  return id.value();
}

Result<LowerId> LayerFile::find_by_number(std::uint64_t number) const {
  if (number < format::kRootInode || number >= tables_.inodes.size()) return Errno{ENOENT};
  return LowerId{number};
}

Result<std::string> LayerFile::read_link(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  if (!S_ISLNK(record->mode)) return Errno{EINVAL};
  if (!is_checked()) VARVE_RETURN_IF_ERROR(accept(format::check_symlink(tables_, id.value())));
  const auto target = tables_.symlink_target(*record);
  if (!target.ok()) return missed(target.error());
  return std::string(*target);
}

Result<std::vector<std::string>> LayerFile::xattr_names(LowerId id) const {
  VARVE_ASSIGN(const auto range, xattrs(id));
  std::vector<std::string> names;
  for (const format::XattrEntry& entry : range) {
    const auto name = tables_.xattr_name(entry);
    if (!name.ok()) return missed(name.error());
    if (!is_hidden_xattr(*name)) names.emplace_back(*name);
  }
  return names;
}

Result<std::string> LayerFile::xattr(LowerId id, std::string_view wanted) const {
  VARVE_ASSIGN(const auto range, xattrs(id));
  if (is_hidden_xattr(wanted)) return Errno{ENODATA};
  const auto name_of = [&](const format::XattrEntry& entry) {
    const auto name = tables_.xattr_name(entry);
    return name.ok() ? *name : std::string_view();
  };
  const auto found = std::partition_point(
      range.begin(), range.end(), [&](const format::XattrEntry& entry) { return name_of(entry) < wanted; });
  if (found == range.end() || name_of(*found) != wanted) return Errno{ENODATA};
  const auto value = tables_.xattr_value(*found);
  if (!value.ok()) return missed(value.error());
  return std::string(*value);
}

Result<std::unique_ptr<LowerFile>> LayerFile::open_file(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  if (!S_ISREG(record->mode)) return Errno{S_ISDIR(record->mode) ? EISDIR : EINVAL};
  VARVE_ASSIGN(std::vector<Piece> pieces, pieces_of(*this, id));
  return std::unique_ptr<LowerFile>(std::make_unique<ExtentFile>(record->size, std::move(pieces)));
}

bool LayerFile::has_all_parents(LowerId file) const {
  const Result<FileChain> chain = chain_of(*this, file);
  return chain.ok() && chain->end != FileChain::End::kMissingParent;
}

std::string LayerFile::missing_parent(std::uint16_t index) const {
  const format::Hash128 root = tables_.parents[index].root_hash;
  return fmt::format("it continues in the layer with root hash {}, which is not below it here",
                     format::to_hex(root));
}

std::optional<format::Hash128> LayerFile::content_digest(LowerId file) const {
  const auto record = inode(file);
  const auto digest = record.ok() ? tables_.digest(**record) : nullptr;
  if (!digest.ok() || *digest == nullptr) return std::nullopt;
  return (*digest)->xxh3_128;
}

std::optional<FrameDamage> LayerFile::check_frame(std::uint64_t frame_index) const {
  auto block = frames_.read(frame_index);
  if (block.ok()) return std::nullopt;
  return std::move(block).error();
}

Result<std::size_t> LayerFile::frame_bytes(std::uint64_t frame_index, LowerId file) const {
  const auto record = frames_.record(frame_index);
  if (record.ok()) return std::size_t{(*record)->content_size};
  log_damage(frame_index, file, record.error());
  return record.error().error;
}

Result<std::size_t> LayerFile::read_frame(const FramePlace& place, std::span<std::byte> out) const {
  const BlockCache::Key key{.layer = cache_id_, .frame = place.frame};
  const auto told = [&](const FrameDamage& damage) {
    log_damage(place.frame, place.file, damage);
    return damage.error;
  };
  VARVE_ASSIGN(const std::size_t size, frame_bytes(place.frame, place.file));
  if (place.start_bytes == 0 && size <= out.size()) {
    VARVE_RETURN_IF_ERROR(
        cache_->read_whole(key, out.first(size), [&](std::span<std::byte> content) -> Status {
          const auto done = frames_.read_into(place.frame, content);
          return done.ok() ? Status() : Status(told(done.error()));
        }));
    return size;
  }
  VARVE_ASSIGN(const BlockPtr block, cache_->get(key, [&]() -> Result<BlockPtr> {
    auto loaded = frames_.read(place.frame);
    if (loaded.ok()) return std::move(loaded).value();
    return told(loaded.error());
  }));
  const auto content = block->bytes();
  VARVE_CHECK(place.start_bytes < content.size());
  const std::size_t count = std::min<std::size_t>(out.size(), content.size() - place.start_bytes);
  std::memcpy(out.data(), content.data() + place.start_bytes, count);
  return count;
}

Errno LayerFile::refuse_frame(std::uint64_t frame_index, LowerId file) const {
  const Errno error{EIO};
  log_damage(
      frame_index, file,
      {error, fmt::format("frame {}: does not hold the part of the file that it should", frame_index)});
  return error;
}

// Once for each frame: a file that is read again and again must not fill the log.
void LayerFile::log_damage(std::uint64_t frame_index, LowerId file, const FrameDamage& damage) const {
  {
    MutexLock lock(damage_mutex_);
    if (!damaged_frames_.insert(frame_index).second) return;
  }
  const auto path = path_of(file);
  log_error("layer {}: file {}: {}", name_, path.ok() ? *path : "(unknown)", damage.message);
}

}  // namespace varve::layer
