#include "fs/format/layer_validate.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "fs/base/checked.h"
#include "fs/base/name.h"
#include "fs/format/hash.h"

namespace varve::format {
namespace {

constexpr std::uint64_t kBlockBytes = 1ULL << kBlockLog2;
// A frame that does not shrink is stored, so nothing a writer makes is larger than this.
constexpr std::uint32_t kMaxFrameOverhead = 64;
constexpr std::uint64_t kMaxFileBytes = std::numeric_limits<std::int64_t>::max();

bool is_zero(const Inode& inode) {
  const auto bytes = bytes_of(inode);
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

bool is_device(std::uint32_t mode) {
  return S_ISCHR(mode) || S_ISBLK(mode);
}

bool is_known_type(std::uint32_t mode) {
  return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || is_device(mode) || S_ISFIFO(mode) ||
         S_ISSOCK(mode);
}

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
    VARVE_RETURN_IF_ERROR(check_frames());
    VARVE_RETURN_IF_ERROR(check_xattr_sets());
    VARVE_RETURN_IF_ERROR(check_origins());
    VARVE_RETURN_IF_ERROR(check_inodes());
    return check_links();
  }

 private:
  FormatStatus check_frames();
  FormatStatus check_xattr_sets();
  FormatStatus check_xattr_set(std::uint32_t index);
  FormatStatus check_origins();
  FormatStatus check_inodes();
  FormatStatus check_inode(std::uint32_t index);
  FormatStatus check_origin(std::uint32_t index);
  FormatStatus check_payload(std::uint32_t index);
  FormatStatus check_file(std::uint32_t index);
  FormatStatus check_extents(std::uint32_t index);
  FormatStatus check_source(std::uint32_t index, const Extent& extent);
  FormatStatus check_directory(std::uint32_t index);
  FormatStatus check_entry(std::uint32_t directory, const Dirent& entry);
  FormatStatus check_links();
  FormatStatus check_tree();

  const LayerTables& t_;
  std::vector<std::uint32_t> full_until_;  // per frame: first frame from it on that is not of run_frame_bytes
  std::vector<std::uint32_t> names_;       // per inode: entries that name it
  std::vector<std::uint32_t> subdirectories_;
  std::uint64_t next_dirent_ = 0;
  std::uint64_t next_extent_ = 0;
  std::uint64_t content_bytes_ = 0;
};

FormatStatus Validator::check_frames() {
  if (t_.frames.size() >= UINT32_MAX) return unsupported("more than 2^32 frames");
  std::uint64_t position = kDataOffset;
  for (std::size_t i = 0; i < t_.frames.size(); ++i) {
    const Frame& frame = t_.frames[i];
    const std::uint64_t offset = frame_offset(frame);
    const bool stored = (frame_flags(frame) & kFrameStored) != 0;
    if ((frame_flags(frame) & ~kFrameStored) != 0)
      return unsupported(fmt::format("frame {}: unknown flags", i));
    if (frame.content_size == 0 || frame.content_size > kMaxFrameBytes || frame.stored_size == 0 ||
        frame.stored_size > frame.content_size + kMaxFrameOverhead ||
        (stored && frame.stored_size != frame.content_size + kStoredFrameHeaderBytes)) {
      return corrupted(fmt::format("frame {}: impossible size", i));
    }
    if (offset < position || !range_within<std::uint64_t>(offset, frame.stored_size, t_.data_end)) {
      return out_of_bounds(fmt::format("frame {}: lies outside of the data or over another frame", i));
    }
    position = offset + frame.stored_size;
  }
  full_until_.resize(t_.frames.size());
  for (std::size_t i = t_.frames.size(); i-- > 0;) {
    const bool full = t_.frames[i].content_size == t_.run_frame_bytes;
    const bool next_full = full && i + 1 < t_.frames.size() && full_until_[i + 1] > i + 1;
    full_until_[i] = static_cast<std::uint32_t>(next_full ? full_until_[i + 1] : full ? i + 1 : i);
  }
  return {};
}

FormatStatus Validator::check_xattr_set(std::uint32_t index) {
  const XattrSet& set = t_.xattr_sets[index];
  std::uint64_t bytes = 0;
  std::string_view last;
  for (const XattrEntry& entry : t_.xattr_entries.subspan(set.first_entry, set.entry_count)) {
    const auto name = t_.xattr_name(entry);
    const auto value = t_.xattr_value(entry);
    if (!name || !value)
      return out_of_bounds(fmt::format("xattr set {}: name or value outside of its section", index));
    if (name->empty() || name->size() > Name::kMaxSize || name->find('\0') != std::string_view::npos) {
      return corrupted(fmt::format("xattr set {}: illegal name", index));
    }
    if (*name <= last) return corrupted(fmt::format("xattr set {}: names are not sorted", index));
    last = *name;
    bytes += name->size() + value->size();
    if (value->size() > kMaxXattrValueBytes || bytes > kMaxXattrSetBytes) {
      return corrupted(fmt::format("xattr set {}: too large", index));
    }
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
    VARVE_RETURN_IF_ERROR(check_xattr_set(static_cast<std::uint32_t>(i)));
  }
  if (next != t_.xattr_entries.size()) return corrupted("xattr entries that belong to no set");
  return {};
}

FormatStatus Validator::check_origins() {
  for (std::size_t i = 1; i < t_.origins.size(); ++i) {
    const Origin& origin = t_.origins[i];
    const auto path = t_.origin_path(origin);
    if (!path) return out_of_bounds(fmt::format("origin {}: path outside of its section", i));
    if (origin.parent != 0 && origin.parent >= t_.parents.size()) {
      return out_of_bounds(fmt::format("origin {}: no such parent", i));
    }
    if ((origin.parent == 0) != (origin.inode == 0) || origin.reserved0 != 0 || origin.reserved1 != 0) {
      return corrupted(fmt::format("origin {}: unused fields are set", i));
    }
    if (path->empty()) continue;
    if (path->front() != '/' || path->size() > kMaxSymlinkBytes) {
      return corrupted(fmt::format("origin {}: not an absolute path", i));
    }
    for (std::size_t start = 1; start <= path->size();) {
      const std::size_t slash = std::min(path->find('/', start), path->size());
      if (!Name::parse(path->substr(start, slash - start)).ok()) {
        return corrupted(fmt::format("origin {}: illegal name in its path", i));
      }
      start = slash + 1;
    }
  }
  return {};
}

FormatStatus Validator::check_inodes() {
  if (t_.inodes.size() <= kRootInode) return corrupted("it has no root directory");
  if (!is_zero(t_.inodes[0])) return corrupted("inode 0 is not empty");
  const Inode& root = t_.inodes[kRootInode];
  if (!S_ISDIR(root.mode) || root.payload_c != kRootInode)
    return corrupted("inode 1 is not a root directory");
  names_.resize(t_.inodes.size());
  subdirectories_.resize(t_.inodes.size());
  for (std::uint32_t i = kRootInode; i < t_.inodes.size(); ++i) VARVE_RETURN_IF_ERROR(check_inode(i));
  if (next_dirent_ != t_.dirents.size()) return corrupted("directory entries that belong to no directory");
  if (next_extent_ != t_.extents.size()) return corrupted("extents that belong to no file");
  if (content_bytes_ != t_.content_bytes)
    return corrupted("the sizes of the files do not sum up to the footer's number");
  return {};
}

FormatStatus Validator::check_inode(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  const std::uint16_t directory_flags = kInodeOpaque | kInodeRedirect;
  if (!is_known_type(inode.mode))
    return corrupted(fmt::format("inode {}: unknown type in mode {:o}", index, inode.mode.get()));
  const std::uint16_t file_flag = (inode.flags & kInodeDelta) != 0 ? kInodeDelta : kInodeInlineExtent;
  const std::uint16_t allowed = S_ISREG(inode.mode)   ? file_flag
                                : S_ISDIR(inode.mode) ? directory_flags
                                                      : std::uint16_t{0};
  if ((inode.flags & ~allowed) != 0) return corrupted(fmt::format("inode {}: unknown flags", index));
  if (inode.mtime_nanoseconds >= 1'000'000'000)
    return corrupted(fmt::format("inode {}: impossible time", index));
  if (inode.xattr_set != 0 && inode.xattr_set >= t_.xattr_sets.size()) {
    return out_of_bounds(fmt::format("inode {}: no such xattr set", index));
  }
  if (inode.digest != 0 && (!S_ISREG(inode.mode) || inode.digest >= t_.digests.size())) {
    return out_of_bounds(fmt::format("inode {}: no such digest", index));
  }
  VARVE_RETURN_IF_ERROR(check_origin(index));
  return check_payload(index);
}

FormatStatus Validator::check_origin(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  const bool redirected = (inode.flags & kInodeRedirect) != 0;
  const bool delta = (inode.flags & kInodeDelta) != 0;
  if ((redirected || delta) != (inode.origin != 0)) {
    return corrupted(fmt::format("inode {}: origin without a redirect or a delta", index));
  }
  if (inode.origin == 0) return {};
  const Origin* origin = t_.origin(inode);
  if (origin == nullptr) return out_of_bounds(fmt::format("inode {}: no such origin", index));
  if (redirected != (origin->parent == 0) || (redirected && origin->path_size == 0)) {
    return corrupted(fmt::format("inode {}: an origin that is not of its kind", index));
  }
  const std::uint64_t feature = redirected ? kIncompatRedirect : kIncompatDelta;
  if ((t_.incompat & feature) == 0)
    return corrupted(fmt::format("inode {}: its feature bit is missing", index));
  return {};
}

FormatStatus Validator::check_payload(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (S_ISREG(inode.mode)) return check_file(index);
  if (S_ISDIR(inode.mode)) return check_directory(index);
  if (inode.payload_c != 0) return corrupted(fmt::format("inode {}: unused fields are set", index));
  if (S_ISLNK(inode.mode)) {
    const auto target = t_.symlink_target(inode);
    if (!target) return out_of_bounds(fmt::format("inode {}: link target outside of its section", index));
    if (target->empty() || target->size() > kMaxSymlinkBytes ||
        target->find('\0') != std::string_view::npos || inode.size != target->size()) {
      return corrupted(fmt::format("inode {}: illegal link target", index));
    }
    return {};
  }
  if (inode.payload_a != 0 || inode.payload_b != 0 || (!is_device(inode.mode) && inode.size != 0)) {
    return corrupted(fmt::format("inode {}: unused fields are set", index));
  }
  return {};
}

FormatStatus Validator::check_file(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (inode.size > kMaxFileBytes) return corrupted(fmt::format("inode {}: impossible size", index));
  // Sparse files may sum up to more than 64 bits; the footer's number then stands at its maximum.
  content_bytes_ = checked_add<std::uint64_t>(content_bytes_, inode.size).value_or(UINT64_MAX);
  if (inode.payload_c != 0 && (inode.flags & kInodeDelta) == 0) {
    return corrupted(fmt::format("inode {}: unused fields are set", index));
  }
  if ((inode.flags & kInodeInlineExtent) == 0) return check_extents(index);
  if (inode.size == 0) return corrupted(fmt::format("inode {}: an extent in an empty file", index));
  Extent extent{};
  extent.length = inode.size;
  extent.source_word = inode.payload_a;
  extent.in_frame_offset = inode.payload_b;
  return check_source(index, extent);
}

FormatStatus Validator::check_extents(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (!take(inode.payload_a, inode.payload_b, t_.extents.size(), next_extent_)) {
    return out_of_bounds(fmt::format("inode {}: wrong range of extents", index));
  }
  std::uint64_t position = 0;
  for (const Extent& extent : t_.extents.subspan(inode.payload_a, inode.payload_b)) {
    if (extent.file_offset % kBlockBytes != 0 || extent.file_offset < position || extent.length == 0 ||
        extent.reserved != 0 || !range_within<std::uint64_t>(extent.file_offset, extent.length, inode.size)) {
      return corrupted(fmt::format("inode {}: extents overlap or lie outside of the file", index));
    }
    position = extent.file_offset + extent.length;
    if (extent.length % kBlockBytes != 0 && position != inode.size) {
      return corrupted(fmt::format("inode {}: an extent ends within a block", index));
    }
    VARVE_RETURN_IF_ERROR(check_source(index, extent));
  }
  return {};
}

FormatStatus Validator::check_source(std::uint32_t index, const Extent& extent) {
  const std::uint64_t frame = extent_frame(extent.source_word);
  if (const std::uint16_t source = extent_source(extent.source_word); source != 0) {
    // Whether the frames are there can be told only beside the parent, when the file is opened.
    const ExtentKind kind = extent_kind(extent.source_word);
    if ((t_.incompat & kIncompatParentFrames) == 0 || source >= t_.parents.size() ||
        (kind != ExtentKind::kData && kind != ExtentKind::kDataRun) ||
        (kind == ExtentKind::kDataRun && extent.in_frame_offset >= kMaxFrameBytes)) {
      return corrupted(fmt::format("inode {}: an extent with an impossible source", index));
    }
    return {};
  }
  switch (extent_kind(extent.source_word)) {
    case ExtentKind::kHole:
      if (frame != 0 || extent.in_frame_offset != 0)
        return corrupted(fmt::format("inode {}: a hole in a frame", index));
      return {};
    case ExtentKind::kData:
      if (frame >= t_.frames.size() || !range_within<std::uint64_t>(extent.in_frame_offset, extent.length,
                                                                    t_.frames[frame].content_size)) {
        return out_of_bounds(fmt::format("inode {}: an extent leaves its frame", index));
      }
      return {};
    case ExtentKind::kDataRun: {
      const std::uint64_t before_last = (extent.length - 1) / t_.run_frame_bytes;
      const std::uint64_t rest = extent.length - before_last * t_.run_frame_bytes;
      if (extent.in_frame_offset != 0 ||
          !range_within<std::uint64_t>(frame, before_last + 1, t_.frames.size()) ||
          full_until_[frame] < frame + before_last || t_.frames[frame + before_last].content_size < rest) {
        return out_of_bounds(fmt::format("inode {}: a run of frames does not hold its extent", index));
      }
      return {};
    }
  }
  return corrupted(fmt::format("inode {}: unknown kind of extent", index));
}

FormatStatus Validator::check_directory(std::uint32_t index) {
  const Inode& inode = t_.inodes[index];
  if (inode.size != inode.payload_b ||
      !take(inode.payload_a, inode.payload_b, t_.dirents.size(), next_dirent_)) {
    return out_of_bounds(fmt::format("directory {}: wrong range of entries", index));
  }
  std::uint32_t last_hash = 0;
  std::string_view last_name;
  for (const Dirent& entry : t_.dirents.subspan(inode.payload_a, inode.payload_b)) {
    VARVE_RETURN_IF_ERROR(check_entry(index, entry));
    const std::string_view name = *t_.name(entry);
    if (entry.hash < last_hash || (entry.hash == last_hash && name <= last_name)) {
      return corrupted(fmt::format("directory {}: entries are not sorted", index));
    }
    last_hash = entry.hash;
    last_name = name;
  }
  return {};
}

FormatStatus Validator::check_entry(std::uint32_t directory, const Dirent& entry) {
  const auto name = t_.name(entry);
  if (!name) return out_of_bounds(fmt::format("directory {}: a name outside of its section", directory));
  if (!Name::parse(*name).ok()) return corrupted(fmt::format("directory {}: an illegal name", directory));
  if (entry.hash != name_hash(*name))
    return corrupted(fmt::format("directory {}: a name with a wrong hash", directory));
  if ((entry.flags & ~kDirentWhiteout) != 0)
    return corrupted(fmt::format("directory {}: unknown flags", directory));
  if (is_whiteout(entry)) {
    if (entry.inode != 0 || entry.type != 0)
      return corrupted(fmt::format("directory {}: a whiteout of an inode", directory));
    return {};
  }
  const Inode* inode = t_.inode(entry.inode);
  if (inode == nullptr) return out_of_bounds(fmt::format("directory {}: an entry without inode", directory));
  if (entry.type != IFTODT(inode->mode))
    return corrupted(fmt::format("directory {}: an entry of wrong type", directory));
  ++names_[entry.inode];
  if (S_ISDIR(inode->mode)) {
    ++subdirectories_[directory];
    if (inode->payload_c != directory)
      return corrupted(fmt::format("directory {}: is not its child's parent", directory));
  }
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
    if (directory && inode.nlink != subdirectories_[i] + 2) {
      return corrupted(fmt::format("inode {}: wrong link count", i));
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
