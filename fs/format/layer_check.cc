#include "fs/format/layer_check.h"

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

FormatError error_for(Miss miss, std::string message) {
  return miss == Miss::kUnreadable ? unreadable() : out_of_bounds(std::move(message));
}

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

// What an inode says of its origin, and the origin's record of where it leads.
FormatStatus check_origin_of(const LayerTables& t, std::uint64_t index, const Inode& inode) {
  const bool redirected = (inode.flags & kInodeRedirect) != 0;
  const bool delta = (inode.flags & kInodeDelta) != 0;
  if ((redirected || delta) != (inode.origin != 0)) {
    return corrupted(fmt::format("inode {}: origin without a redirect or a delta", index));
  }
  if (inode.origin == 0) return {};
  const auto found = t.origin(inode);
  if (!found.ok()) return error_for(found.error(), fmt::format("inode {}: no such origin", index));
  const Origin& origin = **found;
  if (redirected != (origin.parent == 0) || (redirected && origin.path_size == 0)) {
    return corrupted(fmt::format("inode {}: an origin that is not of its kind", index));
  }
  const std::uint64_t feature = redirected ? kIncompatRedirect : kIncompatDelta;
  if ((t.incompat & feature) == 0)
    return corrupted(fmt::format("inode {}: its feature bit is missing", index));
  return {};
}

FormatStatus check_file_fields(const LayerTables& t, std::uint64_t index, const Inode& inode) {
  if (inode.size > kMaxFileBytes) return corrupted(fmt::format("inode {}: impossible size", index));
  if (inode.payload_c != 0 && (inode.flags & kInodeDelta) == 0) {
    return corrupted(fmt::format("inode {}: unused fields are set", index));
  }
  if ((inode.flags & kInodeInlineExtent) != 0) {
    if (inode.size == 0) return corrupted(fmt::format("inode {}: an extent in an empty file", index));
    if (extent_source(inode.payload_a) != 0 || extent_kind(inode.payload_a) == ExtentKind::kHole) {
      return corrupted(fmt::format("inode {}: an inline extent that is no data of this layer", index));
    }
    return {};
  }
  if (!range_within<std::uint64_t>(inode.payload_a, inode.payload_b, t.extents.size())) {
    return out_of_bounds(fmt::format("inode {}: wrong range of extents", index));
  }
  return {};
}

FormatStatus check_payload(const LayerTables& t, std::uint64_t index, const Inode& inode) {
  if (S_ISREG(inode.mode)) return check_file_fields(t, index, inode);
  if (S_ISDIR(inode.mode)) {
    if (inode.size != inode.payload_b ||
        !range_within<std::uint64_t>(inode.payload_a, inode.payload_b, t.dirents.size())) {
      return out_of_bounds(fmt::format("directory {}: wrong range of entries", index));
    }
    return {};
  }
  if (inode.payload_c != 0) return corrupted(fmt::format("inode {}: unused fields are set", index));
  if (S_ISLNK(inode.mode)) {
    if (!range_within<std::uint64_t>(inode.payload_a, inode.payload_b, t.names.size())) {
      return out_of_bounds(fmt::format("inode {}: link target outside of its section", index));
    }
    if (inode.payload_b == 0 || inode.payload_b > kMaxSymlinkBytes || inode.size != inode.payload_b) {
      return corrupted(fmt::format("inode {}: illegal link target", index));
    }
    return {};
  }
  if (inode.payload_a != 0 || inode.payload_b != 0 || (!is_device(inode.mode) && inode.size != 0)) {
    return corrupted(fmt::format("inode {}: unused fields are set", index));
  }
  return {};
}

FormatStatus check_own_source(const LayerTables& t, std::uint64_t index, const Extent& extent) {
  const std::uint64_t frame = extent_frame(extent.source_word);
  switch (extent_kind(extent.source_word)) {
    case ExtentKind::kHole:
      if (frame != 0 || extent.in_frame_offset != 0)
        return corrupted(fmt::format("inode {}: a hole in a frame", index));
      return {};
    case ExtentKind::kData: {
      const auto record = t.frame(frame);
      const bool unreadable_frame = !record.ok() && record.error() == Miss::kUnreadable;
      if (unreadable_frame) return unreadable();
      if (!record.ok() ||
          !range_within<std::uint64_t>(extent.in_frame_offset, extent.length, (*record)->content_size)) {
        return out_of_bounds(fmt::format("inode {}: an extent leaves its frame", index));
      }
      return {};
    }
    case ExtentKind::kDataRun: {
      const std::uint64_t count = (extent.length - 1) / t.run_frame_bytes + 1;
      if (extent.in_frame_offset != 0 || !range_within<std::uint64_t>(frame, count, t.frames.size())) {
        return out_of_bounds(fmt::format("inode {}: a run of frames does not hold its extent", index));
      }
      return {};
    }
  }
  return corrupted(fmt::format("inode {}: unknown kind of extent", index));
}

FormatStatus check_path(std::uint64_t index, std::string_view path) {
  if (path.empty()) return {};
  if (path.front() != '/' || path.size() > kMaxSymlinkBytes) {
    return corrupted(fmt::format("origin {}: not an absolute path", index));
  }
  for (std::size_t start = 1; start <= path.size();) {
    const std::size_t slash = std::min(path.find('/', start), path.size());
    if (!Name::parse(path.substr(start, slash - start)).ok()) {
      return corrupted(fmt::format("origin {}: illegal name in its path", index));
    }
    start = slash + 1;
  }
  return {};
}

}  // namespace

FormatStatus check_frame(const LayerTables& t, std::uint64_t index) {
  const auto record = t.frame(index);
  if (!record.ok()) return error_for(record.error(), fmt::format("frame {}: there is no such frame", index));
  const Frame& frame = **record;
  const std::uint64_t offset = frame_offset(frame);
  const bool stored = (frame_flags(frame) & kFrameStored) != 0;
  if ((frame_flags(frame) & ~kFrameStored) != 0)
    return unsupported(fmt::format("frame {}: unknown flags", index));
  if (frame.content_size == 0 || frame.content_size > kMaxFrameBytes || frame.stored_size == 0 ||
      frame.stored_size > frame.content_size + kMaxFrameOverhead ||
      (stored && frame.stored_size != frame.content_size + kStoredFrameHeaderBytes)) {
    return corrupted(fmt::format("frame {}: impossible size", index));
  }
  if (offset < kDataOffset || !range_within<std::uint64_t>(offset, frame.stored_size, t.data_end)) {
    return out_of_bounds(fmt::format("frame {}: lies outside of the data or over another frame", index));
  }
  return {};
}

FormatStatus check_inode(const LayerTables& t, std::uint64_t index) {
  const auto record = t.inode(index);
  if (!record.ok()) return error_for(record.error(), fmt::format("inode {}: there is no such inode", index));
  const Inode& inode = **record;
  const std::uint16_t directory_flags = kInodeOpaque | kInodeRedirect;
  if (!is_known_type(inode.mode))
    return corrupted(fmt::format("inode {}: unknown type in mode {:o}", index, inode.mode.get()));
  const std::uint16_t file_flag = (inode.flags & kInodeDelta) != 0 ? kInodeDelta : kInodeInlineExtent;
  const std::uint16_t allowed = S_ISREG(inode.mode)   ? file_flag
                                : S_ISDIR(inode.mode) ? directory_flags
                                                      : std::uint16_t{0};
  if ((inode.flags & ~allowed) != 0) return corrupted(fmt::format("inode {}: unknown flags", index));
  if ((inode.flags & directory_flags) == directory_flags && S_ISDIR(inode.mode)) {
    return corrupted(fmt::format("inode {}: opaque and redirected at once", index));
  }
  if (inode.mtime_nanoseconds >= 1'000'000'000)
    return corrupted(fmt::format("inode {}: impossible time", index));
  if (inode.xattr_set != 0 && inode.xattr_set >= t.xattr_sets.size()) {
    return out_of_bounds(fmt::format("inode {}: no such xattr set", index));
  }
  if (inode.digest != 0 && (!S_ISREG(inode.mode) || inode.digest >= t.digests.size())) {
    return out_of_bounds(fmt::format("inode {}: no such digest", index));
  }
  VARVE_RETURN_IF_ERROR(check_origin_of(t, index, inode));
  return check_payload(t, index, inode);
}

FormatStatus check_root(const LayerTables& t) {
  const auto root = t.inode(kRootInode);
  if (!root.ok()) return error_for(root.error(), "it has no root directory");
  if (t.gate != nullptr && !t.gate->admit(t.inodes.data(), sizeof(Inode))) return unreadable();
  if (!is_zero(t.inodes[0])) return corrupted("inode 0 is not empty");
  if (!S_ISDIR((*root)->mode) || (*root)->payload_c != kRootInode || ((*root)->flags & kInodeRedirect) != 0)
    return corrupted("inode 1 is not a root directory");
  return {};
}

FormatStatus check_origin(const LayerTables& t, std::uint64_t index) {
  Inode named{};
  named.origin = static_cast<std::uint32_t>(index);
  const auto record = t.origin(named);
  if (!record.ok())
    return error_for(record.error(), fmt::format("origin {}: there is no such origin", index));
  const Origin& origin = **record;
  if (origin.parent != 0 && origin.parent >= t.parents.size()) {
    return out_of_bounds(fmt::format("origin {}: no such parent", index));
  }
  if ((origin.parent == 0) != (origin.inode == 0) || origin.reserved0 != 0 || origin.reserved1 != 0) {
    return corrupted(fmt::format("origin {}: unused fields are set", index));
  }
  const auto path = t.origin_path(origin);
  if (!path.ok()) {
    return error_for(path.error(), fmt::format("origin {}: path outside of its section", index));
  }
  return check_path(index, *path);
}

FormatStatus check_symlink(const LayerTables& t, std::uint64_t index) {
  const auto record = t.inode(index);
  if (!record.ok()) return error_for(record.error(), fmt::format("inode {}: there is no such inode", index));
  const auto target = t.symlink_target(**record);
  if (!target.ok()) {
    return error_for(target.error(), fmt::format("inode {}: link target outside of its section", index));
  }
  if (target->find('\0') != std::string_view::npos) {
    return corrupted(fmt::format("inode {}: illegal link target", index));
  }
  return {};
}

FormatStatus check_entry(const LayerTables& t, std::uint32_t directory, const Dirent& entry) {
  const auto name = t.name(entry);
  if (!name.ok()) {
    return error_for(name.error(), fmt::format("directory {}: a name outside of its section", directory));
  }
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
  const auto record = t.inode(entry.inode);
  if (!record.ok()) {
    return error_for(record.error(), fmt::format("directory {}: an entry without inode", directory));
  }
  const Inode& inode = **record;
  if (entry.type != IFTODT(inode.mode))
    return corrupted(fmt::format("directory {}: an entry of wrong type", directory));
  if (S_ISDIR(inode.mode) && (inode.payload_c != directory || entry.inode == kRootInode)) {
    return corrupted(fmt::format("directory {}: is not its child's parent", directory));
  }
  return {};
}

FormatStatus check_directory(const LayerTables& t, std::uint32_t index) {
  const auto record = t.inode(index);
  if (!record.ok()) return error_for(record.error(), fmt::format("inode {}: there is no such inode", index));
  const auto entries = t.entries(**record);
  if (!entries.ok()) {
    return error_for(entries.error(), fmt::format("directory {}: wrong range of entries", index));
  }
  std::uint32_t last_hash = 0;
  std::string_view last_name;
  std::vector<std::uint32_t> subdirectories;
  for (const Dirent& entry : *entries) {
    VARVE_RETURN_IF_ERROR(check_entry(t, index, entry));
    const std::string_view name = *t.name(entry);
    if (entry.hash < last_hash || (entry.hash == last_hash && name <= last_name)) {
      return corrupted(fmt::format("directory {}: entries are not sorted", index));
    }
    last_hash = entry.hash;
    last_name = name;
    if (entry.type == DT_DIR) subdirectories.push_back(entry.inode);
  }
  std::sort(subdirectories.begin(), subdirectories.end());
  if (std::adjacent_find(subdirectories.begin(), subdirectories.end()) != subdirectories.end()) {
    return corrupted(fmt::format("directory {}: two names of one directory", index));
  }
  if ((*record)->nlink != subdirectories.size() + 2) {
    return corrupted(fmt::format("inode {}: wrong link count", index));
  }
  return {};
}

FormatStatus check_extents(const LayerTables& t, std::uint64_t index) {
  const auto record = t.inode(index);
  if (!record.ok()) return error_for(record.error(), fmt::format("inode {}: there is no such inode", index));
  const Inode& inode = **record;
  const auto extents = t.file_extents(inode);
  if (!extents.ok()) {
    return error_for(extents.error(), fmt::format("inode {}: wrong range of extents", index));
  }
  std::uint64_t position = 0;
  for (const Extent& extent : *extents) {
    if (extent.file_offset % kBlockBytes != 0 || extent.file_offset < position || extent.length == 0 ||
        extent.reserved != 0 || !range_within<std::uint64_t>(extent.file_offset, extent.length, inode.size)) {
      return corrupted(fmt::format("inode {}: extents overlap or lie outside of the file", index));
    }
    position = extent.file_offset + extent.length;
    if (extent.length % kBlockBytes != 0 && position != inode.size) {
      return corrupted(fmt::format("inode {}: an extent ends within a block", index));
    }
  }
  return {};
}

FormatStatus check_source(const LayerTables& t, std::uint64_t index, const Extent& extent) {
  const std::uint16_t source = extent_source(extent.source_word);
  if (source == 0) return check_own_source(t, index, extent);
  // Whether the frames are there can be told only beside the parent, when the file is opened.
  const ExtentKind kind = extent_kind(extent.source_word);
  if ((t.incompat & kIncompatParentFrames) == 0 || source >= t.parents.size() ||
      (kind != ExtentKind::kData && kind != ExtentKind::kDataRun) ||
      (kind == ExtentKind::kDataRun && extent.in_frame_offset >= kMaxFrameBytes)) {
    return corrupted(fmt::format("inode {}: an extent with an impossible source", index));
  }
  return {};
}

Extent inline_extent(const Inode& file) {
  Extent extent{};
  extent.length = file.size;
  extent.source_word = file.payload_a;
  extent.in_frame_offset = file.payload_b;
  return extent;
}

FormatStatus check_xattr_set(const LayerTables& t, std::uint64_t index) {
  const auto record = t.xattr_set(index);
  if (!record.ok())
    return error_for(record.error(), fmt::format("xattr set {}: there is no such set", index));
  const auto entries = t.set_entries(**record);
  if (!entries.ok()) {
    return error_for(entries.error(), fmt::format("xattr set {}: wrong range of entries", index));
  }
  std::uint64_t bytes = 0;
  std::string_view last;
  for (const XattrEntry& entry : *entries) {
    const auto name = t.xattr_name(entry);
    const auto value = t.xattr_value(entry);
    if (!name.ok() || !value.ok()) {
      return error_for(name.ok() ? value.error() : name.error(),
                       fmt::format("xattr set {}: name or value outside of its section", index));
    }
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

}  // namespace varve::format
