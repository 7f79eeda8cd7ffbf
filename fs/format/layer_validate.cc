#include "fs/format/layer_validate.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "fs/base/checked.h"
#include "fs/format/hash.h"
#include "fs/format/layer_check.h"

namespace varve::format {
namespace {

// Extents, directory entries and xattr sets are taken by their owners one after the other, without gaps or
// sharing: this keeps validation linear, and every record in use.
bool take(std::uint64_t first, std::uint64_t count, std::uint64_t limit, std::uint64_t& next) {
  if (first != next || !range_within(first, count, limit)) return false;
  next = first + count;
  return true;
}

class Validator {
 public:
  explicit Validator(const LayerTables& tables) : t_(tables) {}

  FormatStatus run() {
    VARVE_RETURN_IF_ERROR(check_unused_records());
    VARVE_RETURN_IF_ERROR(check_frames());
    VARVE_RETURN_IF_ERROR(check_xattr_sets());
    for (std::size_t i = 1; i < t_.origins.size(); ++i) VARVE_RETURN_IF_ERROR(check_origin(t_, i));
    VARVE_RETURN_IF_ERROR(check_inodes());
    return check_links();
  }

 private:
  FormatStatus check_unused_records();
  FormatStatus check_frames();
  FormatStatus check_xattr_sets();
  FormatStatus check_inodes();
  FormatStatus check_payload(std::uint32_t index);
  FormatStatus check_file(std::uint32_t index);
  FormatStatus check_run(std::uint32_t index, const Extent& extent);
  FormatStatus check_entries(std::uint32_t index);
  FormatStatus check_links();
  FormatStatus check_tree();

  const LayerTables& t_;
  std::vector<std::uint32_t> full_until_;  // per frame: first frame from it on that is not of run_frame_bytes
  std::vector<std::uint32_t> names_;       // per inode: entries that name it
  std::uint64_t next_dirent_ = 0;
  std::uint64_t next_extent_ = 0;
  std::uint64_t content_bytes_ = 0;
};

// Index 0 means none in these tables; check_root sees to inode 0, check_xattr_sets to set 0.
FormatStatus Validator::check_unused_records() {
  const auto is_unused = [](const auto& table) {
    if (table.empty()) return true;
    const auto bytes = bytes_of(table[0]);
    return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
  };
  if (!is_unused(t_.digests)) return corrupted("digest 0 is not empty");
  if (!is_unused(t_.parents)) return corrupted("parent 0 is not empty");
  if (!is_unused(t_.origins)) return corrupted("origin 0 is not empty");
  return {};
}

FormatStatus Validator::check_frames() {
  std::uint64_t position = kDataOffset;
  for (std::size_t i = 0; i < t_.frames.size(); ++i) {
    VARVE_RETURN_IF_ERROR(check_frame(t_, i));
    const std::uint64_t offset = frame_offset(t_.frames[i]);
    if (offset < position) {
      return out_of_bounds(fmt::format("frame {}: lies outside of the data or over another frame", i));
    }
    position = offset + t_.frames[i].stored_size;
  }
  full_until_.resize(t_.frames.size());
  for (std::size_t i = t_.frames.size(); i-- > 0;) {
    const bool full = t_.frames[i].content_size == t_.run_frame_bytes;
    const bool next_full = full && i + 1 < t_.frames.size() && full_until_[i + 1] > i + 1;
    full_until_[i] = static_cast<std::uint32_t>(next_full ? full_until_[i + 1] : full ? i + 1 : i);
  }
  return {};
}

FormatStatus Validator::check_xattr_sets() {
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < t_.xattr_sets.size(); ++i) {
    const XattrSet& set = t_.xattr_sets[i];
    if (!take(set.first_entry, set.entry_count, t_.xattr_entries.size(), next) ||
        (i == 0) != (set.entry_count == 0)) {
      return out_of_bounds(fmt::format("xattr set {}: wrong range of entries", i));
    }
    VARVE_RETURN_IF_ERROR(check_xattr_set(t_, i));
  }
  if (next != t_.xattr_entries.size()) return corrupted("xattr entries that belong to no set");
  return {};
}

FormatStatus Validator::check_inodes() {
  VARVE_RETURN_IF_ERROR(check_root(t_));
  names_.resize(t_.inodes.size());
  for (std::uint32_t i = kRootInode; i < t_.inodes.size(); ++i) {
    VARVE_RETURN_IF_ERROR(check_inode(t_, i));
    VARVE_RETURN_IF_ERROR(check_payload(i));
  }
  if (next_dirent_ != t_.dirents.size()) return corrupted("directory entries that belong to no directory");
  if (next_extent_ != t_.extents.size()) return corrupted("extents that belong to no file");
  if (content_bytes_ != t_.content_bytes)
    return corrupted("the sizes of the files do not sum up to the footer's number");
  return {};
}

FormatStatus Validator::check_payload(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (S_ISREG(inode.mode)) return check_file(index);
  if (S_ISDIR(inode.mode)) return check_entries(index);
  if (S_ISLNK(inode.mode)) return check_symlink(t_, index);
  return {};
}

FormatStatus Validator::check_file(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  // Sparse files may sum up to more than 64 bits; the footer's number then stands at its maximum.
  content_bytes_ = checked_add<std::uint64_t>(content_bytes_, inode.size).value_or(UINT64_MAX);
  if ((inode.flags & kInodeInlineExtent) != 0) {
    const Extent extent = inline_extent(inode);
    VARVE_RETURN_IF_ERROR(check_source(t_, index, extent));
    return check_run(index, extent);
  }
  if (!take(inode.payload_a, inode.payload_b, t_.extents.size(), next_extent_)) {
    return out_of_bounds(fmt::format("inode {}: wrong range of extents", index));
  }
  VARVE_RETURN_IF_ERROR(check_extents(t_, index));
  for (const Extent& extent : t_.extents.subspan(inode.payload_a, inode.payload_b)) {
    VARVE_RETURN_IF_ERROR(check_source(t_, index, extent));
    VARVE_RETURN_IF_ERROR(check_run(index, extent));
  }
  return {};
}

// The frames of a run of this layer have the size of a run.
FormatStatus Validator::check_run(std::uint32_t index, const Extent& extent) {
  if (extent_kind(extent.source_word) != ExtentKind::kDataRun || extent_source(extent.source_word) != 0)
    return {};
  const std::uint64_t frame = extent_frame(extent.source_word);
  const std::uint64_t before_last = (extent.length - 1) / t_.run_frame_bytes;
  const std::uint64_t rest = extent.length - before_last * t_.run_frame_bytes;
  if (full_until_[frame] < frame + before_last || t_.frames[frame + before_last].content_size < rest) {
    return out_of_bounds(fmt::format("inode {}: a run of frames does not hold its extent", index));
  }
  return {};
}

FormatStatus Validator::check_entries(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (!take(inode.payload_a, inode.payload_b, t_.dirents.size(), next_dirent_)) {
    return out_of_bounds(fmt::format("directory {}: wrong range of entries", index));
  }
  VARVE_RETURN_IF_ERROR(check_directory(t_, index));
  for (const Dirent& entry : t_.dirents.subspan(inode.payload_a, inode.payload_b)) ++names_[entry.inode];
  return {};
}

FormatStatus Validator::check_links() {
  for (std::uint32_t i = kRootInode; i < t_.inodes.size(); ++i) {
    const Inode& inode = t_.inodes[i];
    const bool directory = S_ISDIR(inode.mode);
    const std::uint32_t wanted_names = i == kRootInode ? 0 : directory ? 1 : inode.nlink.get();
    if (names_[i] != wanted_names || (i != kRootInode && names_[i] == 0)) {
      return corrupted(fmt::format("inode {}: has {} names where {} are due", i, names_[i], wanted_names));
    }
  }
  return check_tree();
}

// Every directory has one parent; those that form a loop are not reached from the root.
FormatStatus Validator::check_tree() {
  std::vector<std::uint32_t> to_visit = {kRootInode};
  std::uint64_t reached = 0;
  while (!to_visit.empty()) {
    const Inode& directory = t_.inodes[to_visit.back()];
    to_visit.pop_back();
    ++reached;
    for (const Dirent& entry : t_.dirents.subspan(directory.payload_a, directory.payload_b)) {
      if (entry.type == DT_DIR) to_visit.push_back(entry.inode);
    }
  }
  const auto is_directory = [](const Inode& inode) { return S_ISDIR(inode.mode); };
  if (reached !=
      static_cast<std::uint64_t>(std::count_if(t_.inodes.begin(), t_.inodes.end(), is_directory))) {
    return corrupted("directories that cannot be reached from the root");
  }
  return {};
}

}  // namespace

FormatStatus validate(const LayerTables& tables) {
  return Validator(tables).run();
}

}  // namespace varve::format
