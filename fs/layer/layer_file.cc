#include "fs/layer/layer_file.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "fs/base/log.h"
#include "fs/layer/extent_file.h"
#include "fs/layer/hidden_names.h"

namespace varve::layer {
namespace {

using format::Dirent;
using format::Inode;

// After validation an index never leaves its section: only metadata that changed under a mapping comes here.
constexpr Errno kDamaged{EIO};

Entry entry_from(const Dirent& entry) {
  if (format::is_whiteout(entry)) return Entry{.kind = Entry::Kind::kWhiteout, .id = {}, .type = 0};
  const std::uint32_t type = DTTOIF(std::uint32_t{entry.type});
  return Entry{.kind = Entry::Kind::kObject, .id = LowerId{entry.inode}, .type = type};
}

// Bytes that are not holes, as st_blocks counts them.
std::uint64_t data_blocks_512(const format::LayerTables& tables, const Inode& file) {
  std::uint64_t bytes = 0;
  if ((file.flags & format::kInodeDelta) != 0) {
    bytes = std::uint64_t{file.payload_c} << format::kBlockLog2;
  } else if ((file.flags & format::kInodeInlineExtent) != 0) {
    bytes = file.size;
  } else if (const auto extents = tables.file_extents(file)) {
    for (const format::Extent& extent : *extents) {
      if (format::extent_kind(extent.source_word) != format::ExtentKind::kHole) bytes += extent.length;
    }
  }
  return bytes / 512 + (bytes % 512 != 0 ? 1 : 0);
}

}  // namespace

Result<const Inode*> LayerFile::directory(LowerId id) const {
  const Inode* record = inode(id);
  if (record == nullptr) return kDamaged;
  if (!S_ISDIR(record->mode)) return Errno{ENOTDIR};
  return record;
}

Result<std::span<const Dirent>> LayerFile::entries(LowerId directory_id) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  const auto range = tables_.entries(*record);
  if (!range) return kDamaged;
  return *range;
}

Result<Entry> LayerFile::look_up(LowerId directory_id, Name name) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  const Dirent* entry = tables_.find(*record, name.view());
  if (entry == nullptr) return Entry{};
  return entry_from(*entry);
}

Result<DirectoryMark> LayerFile::directory_mark(LowerId directory_id) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  DirectoryMark mark;
  mark.opaque = (record->flags & format::kInodeOpaque) != 0;
  if ((record->flags & format::kInodeRedirect) != 0) {
    const format::Origin* origin = tables_.origin(*record);
    const auto path = origin == nullptr ? std::nullopt : tables_.origin_path(*origin);
    if (!path) return kDamaged;
    mark.redirect = std::string(*path);
  }
  return mark;
}

Status LayerFile::for_each_entry(LowerId directory_id, const EntryVisitor& visit) const {
  VARVE_ASSIGN(const auto range, entries(directory_id));
  for (const Dirent& entry : range) {
    const auto name = tables_.name(entry);
    if (!name) return kDamaged;
    if (!visit(*name, entry_from(entry))) break;
  }
  return {};
}

Result<Attributes> LayerFile::attributes(LowerId id) const {
  const Inode* record = inode(id);
  if (record == nullptr) return kDamaged;
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
    attributes.blocks_512 = data_blocks_512(tables_, *record);
  }
  return attributes;
}

Result<std::uint64_t> LayerFile::inode_number(LowerId id) const {
  if (inode(id) == nullptr) return kDamaged;
  return id.value();
}

void LayerFile::build_reverse_index() const {
  entry_of_inode_.assign(tables_.inodes.size(), 0);
  // Backwards, so that of several names the first remains.
  for (std::size_t i = tables_.dirents.size(); i-- > 0;) {
    const std::uint32_t named = tables_.dirents[i].inode;
    if (named != 0 && named < entry_of_inode_.size()) entry_of_inode_[named] = static_cast<std::uint32_t>(i);
  }
  for (std::uint32_t i = format::kRootInode; i < tables_.inodes.size(); ++i) {
    // Empty ones would stand between a directory and the one that owns the entry.
    if (S_ISDIR(tables_.inodes[i].mode) && tables_.inodes[i].payload_b != 0) directories_.push_back(i);
  }
}

Result<std::string> LayerFile::path_of(LowerId id) const {
  if (inode(id) == nullptr) return kDamaged;
  std::call_once(reverse_once_, [this] { build_reverse_index(); });
  std::vector<std::string_view> names;
  for (std::uint64_t current = id.value(); current != format::kRootInode;) {
    const std::uint32_t index = entry_of_inode_[current];
    const auto name = index < tables_.dirents.size() ? tables_.name(tables_.dirents[index]) : std::nullopt;
    // Validation shows that every chain reaches the root; the bound holds when a mapping changed since.
    if (!name || names.size() > tables_.inodes.size()) return kDamaged;
    names.push_back(*name);
    const auto owner =
        std::partition_point(directories_.begin(), directories_.end(), [&](std::uint32_t directory) {
          const Inode& record = tables_.inodes[directory];
          return record.payload_a + record.payload_b <= index;
        });
    if (owner == directories_.end()) return kDamaged;
    current = *owner;
  }
  if (names.empty()) return std::string("/");
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    path += '/';
    path += *name;
  }
  return path;
}

Result<std::string> LayerFile::read_link(LowerId id) const {
  const Inode* record = inode(id);
  if (record == nullptr) return kDamaged;
  if (!S_ISLNK(record->mode)) return Errno{EINVAL};
  const auto target = tables_.symlink_target(*record);
  if (!target) return kDamaged;
  return std::string(*target);
}

Result<std::vector<std::string>> LayerFile::xattr_names(LowerId id) const {
  const Inode* record = inode(id);
  const auto xattrs = record == nullptr ? std::nullopt : tables_.xattrs(*record);
  if (!xattrs) return kDamaged;
  std::vector<std::string> names;
  for (const format::XattrEntry& entry : *xattrs) {
    const auto name = tables_.xattr_name(entry);
    if (!name) return kDamaged;
    if (!is_hidden_xattr(*name)) names.emplace_back(*name);
  }
  return names;
}

Result<std::string> LayerFile::xattr(LowerId id, std::string_view wanted) const {
  const Inode* record = inode(id);
  const auto xattrs = record == nullptr ? std::nullopt : tables_.xattrs(*record);
  if (!xattrs) return kDamaged;
  if (is_hidden_xattr(wanted)) return Errno{ENODATA};
  const auto found =
      std::partition_point(xattrs->begin(), xattrs->end(), [&](const format::XattrEntry& entry) {
        return tables_.xattr_name(entry).value_or(std::string_view()) < wanted;
      });
  if (found == xattrs->end() || tables_.xattr_name(*found) != wanted) return Errno{ENODATA};
  const auto value = tables_.xattr_value(*found);
  if (!value) return kDamaged;
  return std::string(*value);
}

Result<std::unique_ptr<LowerFile>> LayerFile::open_file(LowerId id) const {
  const Inode* record = inode(id);
  if (record == nullptr) return kDamaged;
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
  const Inode* record = inode(file);
  const format::Digest* digest = record == nullptr ? nullptr : tables_.digest(*record);
  if (digest == nullptr) return std::nullopt;
  return digest->xxh3_128;
}

std::optional<FrameDamage> LayerFile::check_frame(std::uint64_t frame_index) const {
  auto block = frames_.read(frame_index);
  if (block.ok()) return std::nullopt;
  return std::move(block).error();
}

Result<BlockPtr> LayerFile::frame(std::uint64_t frame_index, LowerId file) const {
  return cache_->get({.layer = cache_id_, .frame = frame_index}, [&]() -> Result<BlockPtr> {
    auto block = frames_.read(frame_index);
    if (block.ok()) return std::move(block).value();
    log_damage(frame_index, file, block.error());
    return block.error().error;
  });
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
