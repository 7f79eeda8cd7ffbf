#include "imagetool/image/writer/layer_metadata.h"

#include <dirent.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "fs/base/checked.h"
#include "fs/base/name.h"
#include "fs/format/hash.h"
#include "fs/format/layer_validate.h"

namespace varve::image {
namespace {

using format::Dirent;
using format::Inode;

bool is_device(std::uint32_t mode) {
  return S_ISCHR(mode) || S_ISBLK(mode);
}

// What payload_c of an inode with an inline extent says until place_extents().
constexpr std::uint32_t kPendingPacked = 1;
constexpr std::uint32_t kPendingRun = 2;

Failure invalid(std::string why) {
  return Failure{EINVAL, std::move(why)};
}

}  // namespace

LayerMetadata::LayerMetadata(const std::vector<ParentLayer>& parents)
    : inodes_(1), has_content_(1), is_named_(1), parents_(1), digests_(1), xattr_sets_(1), origins_(1) {
  for (const ParentLayer& parent : parents) {
    parents_.push_back(format::Parent{parent.sha256, parent.root_hash});
  }
}

void LayerMetadata::expect_inodes(std::uint64_t count) {
  inodes_.reserve(inodes_.size() + count);
  digests_.reserve(digests_.size() + count);
}

void LayerMetadata::expect_names(std::uint64_t count, std::uint64_t bytes) {
  dirents_.reserve(dirents_.size() + count);
  names_.reserve(names_.size() + bytes);
}

StatusOrFailure LayerMetadata::check_spec(const InodeSpec& spec) const {
  const Attributes& attributes = spec.attributes;
  const std::uint32_t mode = attributes.mode;
  if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !is_device(mode) && !S_ISFIFO(mode) &&
      !S_ISSOCK(mode)) {
    return invalid(fmt::format("its mode {:o} is of no known type", mode));
  }
  if (inodes_.size() == format::kRootInode && !S_ISDIR(mode)) return invalid("the root must be a directory");
  if (inodes_.size() >= UINT32_MAX - 1) return Failure{EOVERFLOW, "a layer holds at most 2^32 - 2 objects"};
  if (attributes.mtime.nanoseconds >= 1'000'000'000)
    return invalid("its modification time has too many nanoseconds");
  if (attributes.size_bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return invalid("its size is larger than 2^63 - 1");
  }
  const std::string& target = spec.symlink_target;
  if (S_ISLNK(mode) &&
      (target.empty() || target.size() > format::kMaxSymlinkBytes || target.find('\0') != target.npos)) {
    return invalid(fmt::format("a link target must have 1 to {} bytes and no NUL", format::kMaxSymlinkBytes));
  }
  if (!S_ISDIR(mode) && (spec.opaque || spec.redirect))
    return invalid("only directories are opaque or redirected");
  if (spec.redirect && inodes_.size() == format::kRootInode) return invalid("the root is never redirected");
  if (spec.redirect && (spec.redirect->size() < 2 || spec.redirect->front() != '/')) {
    return invalid("a redirect must be an absolute path");
  }
  if (spec.base && !S_ISREG(mode)) return invalid("only regular files inherit content");
  return spec.base ? check_base(*spec.base) : StatusOrFailure();
}

ResultOrFailure<std::uint32_t> LayerMetadata::add_inode(const InodeSpec& spec) {
  VARVE_RETURN_IF_ERROR(check_spec(spec));
  VARVE_ASSIGN(const std::uint32_t xattr_set, intern_xattrs(spec));
  const Attributes& attributes = spec.attributes;
  Inode inode{};
  inode.mode = static_cast<std::uint16_t>(attributes.mode);
  inode.uid = attributes.uid;
  inode.gid = attributes.gid;
  inode.mtime_seconds = attributes.mtime.seconds;
  inode.mtime_nanoseconds = attributes.mtime.nanoseconds;
  inode.xattr_set = xattr_set;
  if (S_ISREG(attributes.mode)) {
    inode.size = attributes.size_bytes;
    content_bytes_ = checked_add(content_bytes_, attributes.size_bytes).value_or(UINT64_MAX);
  } else if (S_ISLNK(attributes.mode)) {
    inode.size = spec.symlink_target.size();
    inode.payload_a = add_text(spec.symlink_target);
    inode.payload_b = static_cast<std::uint32_t>(spec.symlink_target.size());
  } else if (is_device(attributes.mode)) {
    inode.size = static_cast<std::uint64_t>(major(attributes.rdev)) << 32 | minor(attributes.rdev);
  } else if (S_ISDIR(attributes.mode)) {
    inode.nlink = 2;
    // A redirect alone says what shows through; the format has no directory that is both.
    if (spec.opaque && !spec.redirect) inode.flags = inode.flags | format::kInodeOpaque;
    if (spec.redirect) {
      inode.flags = inode.flags | format::kInodeRedirect;
      inode.origin = add_redirect(*spec.redirect);
    }
  }
  const auto index = static_cast<std::uint32_t>(inodes_.size());
  if (spec.base) bases_.emplace(index, *spec.base);
  if (index == format::kRootInode) inode.payload_c = format::kRootInode;
  inodes_.push_back(inode);
  has_content_.push_back(false);
  is_named_.push_back(index == format::kRootInode);
  return index;
}

StatusOrFailure LayerMetadata::check_base(const DeltaBase& base) const {
  if (std::size_t{base.parent} + 1 >= parents_.size() || base.inode == 0) {
    return invalid("it inherits from a file of no known parent layer");
  }
  return {};
}

StatusOrFailure LayerMetadata::set_base(std::uint32_t inode, std::optional<DeltaBase> base) {
  if (!base) {
    bases_.erase(inode);
    return {};
  }
  VARVE_RETURN_IF_ERROR(check_base(*base));
  if (inode == 0 || inode >= inodes_.size() || !S_ISREG(inodes_[inode].mode)) {
    return invalid(fmt::format("inode {} is not a regular file of this layer", inode));
  }
  VARVE_CHECK(!has_content_[inode] || has_base(inode));  // its content was read as that of an ordinary file
  bases_.insert_or_assign(inode, std::move(*base));
  return {};
}

void LayerMetadata::place_base(std::uint32_t index, const StoredContent* content) {
  const DeltaBase& base = bases_.at(index);
  format::Origin origin{};
  origin.parent = static_cast<std::uint16_t>(base.parent + 1);
  origin.inode = base.inode;
  origin.base_digest = base.digest;
  origin.path_offset = add_text(base.path);
  origin.path_size = static_cast<std::uint32_t>(base.path.size());
  Inode& inode = inodes_[index];
  inode.flags = inode.flags | format::kInodeDelta;
  inode.origin = static_cast<std::uint32_t>(origins_.size());
  inode.payload_c = static_cast<std::uint32_t>(std::min<std::uint64_t>(base.data_blocks, UINT32_MAX));
  origins_.push_back(origin);
  incompat_ |= format::kIncompatDelta;
  // A file that inherits everything has the content of its base.
  const bool whole = content == nullptr || (content->extents.empty() && !content->digest);
  if (whole && base.digest != format::Hash128{} && inode.size == base.size_bytes) {
    inode.digest = static_cast<std::uint32_t>(digests_.size());
    digests_.push_back(format::Digest{base.digest});
  }
}

std::uint32_t LayerMetadata::add_redirect(const std::string& path) {
  format::Origin origin{};
  origin.path_offset = add_text(path);
  origin.path_size = static_cast<std::uint32_t>(path.size());
  origins_.push_back(origin);
  incompat_ |= format::kIncompatRedirect;
  return static_cast<std::uint32_t>(origins_.size() - 1);
}

std::uint64_t LayerMetadata::add_text(std::string_view text) {
  const std::uint64_t offset = names_.size();
  names_ += text;
  return offset;
}

ResultOrFailure<std::uint32_t> LayerMetadata::intern_xattrs(const InodeSpec& spec) {
  if (spec.xattrs.empty()) return std::uint32_t{0};
  auto xattrs = spec.xattrs;
  std::sort(xattrs.begin(), xattrs.end());
  std::string serialised;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < xattrs.size(); ++i) {
    const auto& [name, value] = xattrs[i];
    if (name.empty() || name.size() > Name::kMaxSize || name.find('\0') != name.npos) {
      return invalid("an xattr name must have 1 to 255 bytes and no NUL");
    }
    if (i > 0 && name == xattrs[i - 1].first) return invalid("the xattr " + name + " is given twice");
    if (value.size() > format::kMaxXattrValueBytes)
      return Failure{E2BIG, "the xattr " + name + " is larger than 64 KiB"};
    bytes += name.size() + value.size();
    serialised += fmt::format("{}:{}:", name.size(), value.size());
    serialised += name;
    serialised += value;
  }
  if (bytes > format::kMaxXattrSetBytes) return Failure{E2BIG, "its xattrs are larger than 1 MiB together"};
  const auto next = static_cast<std::uint32_t>(xattr_sets_.size());
  const auto [known, added] = set_index_.try_emplace(std::move(serialised), next);
  if (!added) return known->second;
  format::XattrSet set{};
  set.first_entry = static_cast<std::uint32_t>(xattr_entries_.size());
  set.entry_count = static_cast<std::uint32_t>(xattrs.size());
  xattr_sets_.push_back(set);
  for (const auto& [name, value] : xattrs) {
    const auto name_place = xattr_name_offsets_.try_emplace(name, names_.size());
    if (name_place.second) add_text(name);
    const auto value_place = xattr_value_offsets_.try_emplace(value, xattr_values_.size());
    if (value_place.second) xattr_values_ += value;
    format::XattrEntry entry{};
    entry.name_offset = name_place.first->second;
    entry.name_size = static_cast<std::uint32_t>(name.size());
    entry.value_size = static_cast<std::uint32_t>(value.size());
    entry.value_offset = value_place.first->second;
    xattr_entries_.push_back(entry);
  }
  return next;
}

StatusOrFailure LayerMetadata::check_directory(std::uint32_t directory, std::string_view name) const {
  if (directory == 0 || directory >= inodes_.size() || !S_ISDIR(inodes_[directory].mode)) {
    return invalid(fmt::format("inode {} is not a directory of this layer", directory));
  }
  if (const auto parsed = Name::parse(name); !parsed.ok()) {
    return Failure{parsed.error().value, "its name is empty, too long, or contains what no name may"};
  }
  return {};
}

void LayerMetadata::add_entry(std::uint32_t directory, std::string_view name, Dirent entry) {
  const std::uint64_t offset = add_text(name);
  entry.hash = directory;
  entry.name_offset_low = static_cast<std::uint32_t>(offset);
  entry.name_offset_high = static_cast<std::uint8_t>(offset >> 32);
  entry.name_size = static_cast<std::uint8_t>(name.size());
  dirents_.push_back(entry);
}

StatusOrFailure LayerMetadata::add_name(std::uint32_t directory, std::string_view name, std::uint32_t inode) {
  VARVE_RETURN_IF_ERROR(check_directory(directory, name));
  if (inode == 0 || inode >= inodes_.size()) return invalid(fmt::format("there is no inode {}", inode));
  Inode& record = inodes_[inode];
  if (S_ISDIR(record.mode)) {
    if (is_named_[inode]) return invalid("a directory has only one name, and the root none");
    record.payload_c = directory;
    inodes_[directory].nlink = inodes_[directory].nlink + 1;
  } else {
    record.nlink = record.nlink + 1;
  }
  is_named_[inode] = true;
  Dirent entry{};
  entry.inode = inode;
  entry.type = IFTODT(record.mode);
  add_entry(directory, name, entry);
  return {};
}

StatusOrFailure LayerMetadata::add_whiteout(std::uint32_t directory, std::string_view name) {
  VARVE_RETURN_IF_ERROR(check_directory(directory, name));
  if ((inodes_[directory].flags & format::kInodeOpaque) != 0) return {};
  Dirent entry{};
  entry.flags = format::kDirentWhiteout;
  add_entry(directory, name, entry);
  return {};
}

ResultOrFailure<std::uint64_t> LayerMetadata::size_awaiting_content(std::uint32_t inode) const {
  if (inode == 0 || inode >= inodes_.size() || !S_ISREG(inodes_[inode].mode)) {
    return invalid(fmt::format("inode {} is not a regular file of this layer", inode));
  }
  if (has_content_[inode]) return invalid(fmt::format("inode {} has its content already", inode));
  return inodes_[inode].size.get();
}

bool LayerMetadata::is_inline(const StoredContent& content, const Inode& inode) {
  return content.extents.size() == 1 && content.extents[0].length == inode.size &&
         content.extents[0].source == 0;
}

void LayerMetadata::set_content(std::uint32_t inode, StoredContent content) {
  has_content_[inode] = true;
  Inode& record = inodes_[inode];
  if (content.digest) {
    record.digest = static_cast<std::uint32_t>(digests_.size());
    digests_.push_back(format::Digest{*content.digest});
  }
  if (has_base(inode) || !is_inline(content, record)) {
    contents_.emplace(inode, std::move(content));
    return;
  }
  const StoredExtent& stored = content.extents[0];
  record.flags = record.flags | format::kInodeInlineExtent;
  record.payload_a = stored.place.number;
  record.payload_b = stored.place.offset;
  record.payload_c = (stored.place.packed ? kPendingPacked : 0) | (stored.frames > 1 ? kPendingRun : 0);
}

std::string_view LayerMetadata::name_of(const Dirent& entry) const {
  return std::string_view(names_).substr(format::dirent_name_offset(entry), entry.name_size);
}

StatusOrFailure LayerMetadata::complete(Data data) {
  frames_ = std::move(data.frames);
  data_end_ = data.data_end;
  frame_bytes_ = data.frame_bytes;
  if (inodes_.size() <= format::kRootInode) return invalid("a layer needs a root directory");
  for (std::uint32_t i = format::kRootInode; i < inodes_.size(); ++i) {
    if (!is_named_[i]) return invalid(fmt::format("inode {} has no name", i));
  }
  VARVE_RETURN_IF_ERROR(sort_entries());
  place_extents(data.store);
  std::vector<std::string_view> features;
  if ((incompat_ & format::kIncompatDelta) != 0) features.push_back(R"("delta")");
  if ((incompat_ & format::kIncompatRedirect) != 0) features.push_back(R"("redirect")");
  if ((incompat_ & format::kIncompatParentFrames) != 0) features.push_back(R"("parent frames")");
  meta_ = fmt::format(R"({{"features":[{}],"level":{},"writer":"varve {}","zstd":"{}"}})",
                      fmt::join(features, ","), data.level, VARVE_VERSION, ZSTD_versionString());
  // As every reader will: what we write must open.
  if (const auto valid = format::validate(tables()); !valid.ok())
    return invalid("not a tree: " + valid.error().message);
  return {};
}

StatusOrFailure LayerMetadata::sort_entries() {
  std::sort(dirents_.begin(), dirents_.end(),
            [](const Dirent& a, const Dirent& b) { return a.hash < b.hash; });
  auto next = dirents_.begin();
  for (std::uint32_t i = format::kRootInode; i < inodes_.size(); ++i) {
    Inode& inode = inodes_[i];
    if (!S_ISDIR(inode.mode)) continue;
    const auto first = next;
    for (; next != dirents_.end() && next->hash == i; ++next) next->hash = format::name_hash(name_of(*next));
    std::sort(first, next, [this](const Dirent& a, const Dirent& b) {
      if (a.hash != b.hash) return a.hash < b.hash;
      return name_of(a) < name_of(b);
    });
    const auto twice = std::adjacent_find(first, next, [this](const Dirent& a, const Dirent& b) {
      return a.hash == b.hash && name_of(a) == name_of(b);
    });
    if (twice != next)
      return Failure{EEXIST, fmt::format("the name {} is given twice in one directory", name_of(*twice))};
    inode.payload_a = static_cast<std::uint64_t>(first - dirents_.begin());
    inode.payload_b = static_cast<std::uint32_t>(next - first);
    inode.size = inode.payload_b.get();
  }
  return {};
}

void LayerMetadata::place_extents(const LayerContentStore& store) {
  const auto source_of = [&](const StoredExtent& stored) {
    if (stored.source != 0) incompat_ |= format::kIncompatParentFrames;
    return format::make_extent_source(
        store.frame_of(stored.place), stored.source,
        stored.is_run() ? format::ExtentKind::kDataRun : format::ExtentKind::kData);
  };
  for (std::uint32_t i = format::kRootInode; i < inodes_.size(); ++i) {
    Inode& inode = inodes_[i];
    if (!S_ISREG(inode.mode)) continue;
    if ((inode.flags & format::kInodeInlineExtent) != 0) {
      const StoredPlace place{.number = inode.payload_a,
                              .offset = inode.payload_b,
                              .packed = (inode.payload_c & kPendingPacked) != 0};
      const std::uint64_t frames = (inode.payload_c & kPendingRun) != 0 ? 2 : 1;
      inode.payload_a = source_of({.file_offset = 0, .length = inode.size, .place = place, .frames = frames});
      inode.payload_c = 0;
      continue;
    }
    inode.payload_a = extents_.size();
    const auto found = contents_.find(i);
    if (has_base(i)) place_base(i, found == contents_.end() ? nullptr : &found->second);
    if (found == contents_.end()) continue;  // empty, or one hole, or all of it inherited
    for (const StoredExtent& stored : found->second.extents) {
      format::Extent extent{};
      extent.file_offset = stored.file_offset;
      extent.length = stored.length;
      extent.source_word = format::make_extent_source(0, 0, format::ExtentKind::kHole);
      if (stored.frames > 0) {
        extent.source_word = source_of(stored);
        extent.in_frame_offset = stored.place.offset;
      }
      extents_.push_back(extent);
    }
    inode.payload_b = static_cast<std::uint32_t>(found->second.extents.size());
  }
  contents_ = {};
}

format::LayerTables LayerMetadata::tables() const {
  format::LayerTables tables;
  tables.run_frame_bytes = frame_bytes_;
  tables.data_end = data_end_;
  tables.incompat = incompat_;
  tables.content_bytes = content_bytes_;
  tables.inodes = inodes_;
  tables.dirents = dirents_;
  tables.names = names_;
  tables.extents = extents_;
  tables.frames = frames_;
  // The unused first record stands only before others.
  if (digests_.size() > 1) tables.digests = digests_;
  if (xattr_sets_.size() > 1) tables.xattr_sets = xattr_sets_;
  tables.xattr_entries = xattr_entries_;
  tables.xattr_values = xattr_values_;
  if (parents_.size() > 1) tables.parents = parents_;
  if (origins_.size() > 1) tables.origins = origins_;
  tables.meta = meta_;
  return tables;
}

}  // namespace varve::image
