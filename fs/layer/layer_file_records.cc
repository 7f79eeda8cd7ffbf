// The records of a LayerFile, each checked when it is touched unless all were checked before.

#include <fmt/format.h>
#include <sys/stat.h>

#include "fs/base/log.h"
#include "fs/format/layer_check.h"
#include "fs/format/layer_validate.h"
#include "fs/layer/layer_file.h"

namespace varve::layer {
namespace {

using format::Dirent;
using format::Extent;
using format::Inode;

constexpr Errno kDamaged{EIO};
constexpr std::size_t kMaxToldFaults = 1000;  // lines in the log, for one layer

}  // namespace

Status LayerFile::accept(const format::FormatStatus& status) const {
  if (status.ok()) return {};
  if (status.error().kind != format::FormatError::Kind::kUnreadable) log_fault(status.error().message);
  return kDamaged;
}

Errno LayerFile::missed(format::Miss miss) const {
  if (miss == format::Miss::kOutOfBounds) log_fault("a record that points outside of its section");
  return kDamaged;
}

void LayerFile::log_fault(const std::string& message) const {
  {
    const MutexLock lock(damage_mutex_);
    if (told_faults_.size() >= kMaxToldFaults || !told_faults_.insert(message).second) return;
  }
  log_error("layer {}: {}", name_, message);
}

Result<const Inode*> LayerFile::touch_inode(LowerId id) const {
  const auto record = tables_.inode(id.value());
  if (!record.ok()) return missed(record.error());
  if (!is_checked()) VARVE_RETURN_IF_ERROR(accept(format::check_inode(tables_, id.value())));
  return *record;
}

Result<const Inode*> LayerFile::directory(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  if (!S_ISDIR(record->mode)) return Errno{ENOTDIR};
  return record;
}

Result<std::span<const Dirent>> LayerFile::entries(LowerId directory_id) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  const auto index = static_cast<std::uint32_t>(directory_id.value());
  const bool is_new = !seen_.is_listed(index);
  if (is_new && !is_checked()) VARVE_RETURN_IF_ERROR(accept(format::check_directory(tables_, index)));
  const auto range = tables_.entries(*record);
  if (!range.ok()) return missed(range.error());
  if (is_new) {
    for (const Dirent& entry : *range) note(directory_id, entry);
    seen_.set_listed(index);
  }
  return *range;
}

Result<const Dirent*> LayerFile::entry(LowerId directory_id, std::string_view name) const {
  VARVE_ASSIGN(const Inode* record, directory(directory_id));
  const auto found = tables_.find(*record, name);
  if (!found.ok()) return missed(found.error());
  if (*found == nullptr || is_checked()) return *found;
  const auto index = static_cast<std::uint32_t>(directory_id.value());
  VARVE_RETURN_IF_ERROR(accept(format::check_entry(tables_, index, **found)));
  return *found;
}

void LayerFile::note(LowerId directory_id, const Dirent& entry) const {
  if (entry.inode == 0) return;
  seen_.note(entry.inode, {.directory = static_cast<std::uint32_t>(directory_id.value()),
                           .entry = static_cast<std::uint32_t>(&entry - tables_.dirents.data())});
}

Result<std::span<const Extent>> LayerFile::listed_extents(LowerId file, const Inode& record) const {
  if (!is_checked()) VARVE_RETURN_IF_ERROR(accept(format::check_extents(tables_, file.value())));
  const auto range = tables_.file_extents(record);
  if (!range.ok()) return missed(range.error());
  return *range;
}

Result<std::vector<Extent>> LayerFile::extents(LowerId file) const {
  VARVE_ASSIGN(const Inode* record, inode(file));
  std::vector<Extent> extents;
  if ((record->flags & format::kInodeInlineExtent) != 0) {
    extents.push_back(format::inline_extent(*record));
  } else {
    VARVE_ASSIGN(const auto range, listed_extents(file, *record));
    extents.assign(range.begin(), range.end());
  }
  if (is_checked()) return extents;
  for (const Extent& extent : extents) {
    VARVE_RETURN_IF_ERROR(accept(format::check_source(tables_, file.value(), extent)));
  }
  return extents;
}

Result<std::span<const format::XattrEntry>> LayerFile::xattrs(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  const auto index = static_cast<std::uint32_t>(id.value());
  if (record->xattr_set != 0 && !is_checked() && !seen_.has_checked_xattrs(index)) {
    VARVE_RETURN_IF_ERROR(accept(format::check_xattr_set(tables_, record->xattr_set)));
    seen_.set_checked_xattrs(index);
  }
  const auto range = tables_.xattrs(*record);
  if (!range.ok()) return missed(range.error());
  return *range;
}

Result<const format::Origin*> LayerFile::origin(LowerId id) const {
  VARVE_ASSIGN(const Inode* record, inode(id));
  if (record->origin != 0 && !is_checked()) {
    VARVE_RETURN_IF_ERROR(accept(format::check_origin(tables_, record->origin)));
  }
  const auto found = tables_.origin(*record);
  if (!found.ok()) return missed(found.error());
  return *found;
}

StatusOrFailure LayerFile::load_all() const {
  if (is_checked()) return {};
  // Held while everything is read: a second asker would only do the same again.
  const MutexLock lock(load_mutex_);
  if (is_checked()) return {};
  const auto bytes = pages_->bytes();
  if (!pages_->admit(bytes.data(), bytes.size())) {
    return Failure{
        EUCLEAN,
        name_ + ": its metadata is damaged or cannot be read, as was told (fetch or build it again)"};
  }
  const auto check = [&]() -> format::FormatStatus {
    VARVE_RETURN_IF_ERROR(pages_->sections().check_bytes(bytes, pages_->sections().paged_begin()));
    return format::validate(tables_);
  };
  if (const format::FormatStatus good = check(); !good.ok()) {
    return Failure{EUCLEAN, fmt::format("{}: corrupted layer: {} (fetch or build it again)", name_,
                                        good.error().message)};
  }
  is_checked_.store(true, std::memory_order_release);
  return {};
}

// For objects that no caller came upon from the root.
Status LayerFile::see_all_entries() const {
  if (!load_all().ok()) return kDamaged;
  for (std::uint64_t i = format::kRootInode; i < tables_.inodes.size(); ++i) {
    if (!S_ISDIR(tables_.inodes[i].mode)) continue;
    VARVE_RETURN_IF_ERROR(entries(LowerId{i}));
  }
  return {};
}

Result<std::string> LayerFile::path_of(LowerId id) const {
  if (id.value() == 0 || id.value() >= tables_.inodes.size()) return kDamaged;
  std::vector<std::string_view> names;
  for (auto current = static_cast<std::uint32_t>(id.value()); current != format::kRootInode;) {
    auto place = seen_.place(current);
    if (!place) {
      VARVE_RETURN_IF_ERROR(see_all_entries());
      place = seen_.place(current);
    }
    // Directories that lead to each other are not reached from the root; the bound is for those.
    if (!place || names.size() > tables_.inodes.size()) return kDamaged;
    const auto name = tables_.name(tables_.dirents[place->entry]);  // which was touched when it was noted
    if (!name.ok()) return missed(name.error());
    names.push_back(*name);
    current = place->directory;
  }
  if (names.empty()) return std::string("/");
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    path += '/';
    path += *name;
  }
  return path;
}

}  // namespace varve::layer
