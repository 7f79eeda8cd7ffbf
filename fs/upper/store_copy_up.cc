// Copy-up: a lower object gets its representation in the upper, made ready in the stage and published by one
// rename (as fs/overlayfs/copy_up.c of the kernel does). No data is copied: a base mark says where the blocks
// come from.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "fs/block/fd_block_file.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/xattr_escape.h"

namespace varve::upper {
namespace {

constexpr std::uint64_t kCopyChunkBytes = std::uint64_t{256} << 10;

bool is_no_room(Errno error) {
  return error.value == ENOSPC || error.value == E2BIG || error.value == ERANGE ||
         error.value == ENAMETOOLONG;
}

// Access control must not get lost; of the rest an upper that cannot store it keeps none (ovl_must_copy_xattr
// of the kernel's copy_up.c).
bool must_copy(std::string_view name) {
  return name.starts_with("security.") || name.starts_with("system.posix_acl_");
}

// Copies the data of `content`, holes left as such.
Status copy_data(const layer::LowerFile& content, block::BlockFile& to) {
  const std::uint64_t size_bytes = content.size_bytes();
  VARVE_RETURN_IF_ERROR(to.truncate(size_bytes));
  std::vector<std::byte> buffer(std::min(kCopyChunkBytes, size_bytes));
  std::uint64_t position = 0;
  while (position < size_bytes) {
    VARVE_ASSIGN(const auto range, content.next_data(position));
    if (!range) break;
    position = std::max(position, range->offset_bytes);
    const std::uint64_t end = range->offset_bytes + range->size_bytes;
    while (position < end) {
      const auto chunk = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), end - position));
      VARVE_ASSIGN(const std::size_t got, content.read(position, chunk));
      if (got == 0) return Errno{EIO};  // shorter than it says
      VARVE_RETURN_IF_ERROR(to.write_at(position, chunk.first(got)));
      position += got;
    }
  }
  return {};
}

struct timespec timespec_of(const Timestamp& time) {
  return {.tv_sec = static_cast<time_t>(time.seconds), .tv_nsec = static_cast<long>(time.nanoseconds)};
}

}  // namespace

Result<UpperEntry> Store::copy_up(ObjectRef where, const CopyUp& source) {
  Result<UpperEntry> shared = copy_up_as(where, source, DataMode::kShare);
  if (shared.ok()) return shared;
  // Perhaps only the base mark did not fit beside the object's own xattrs.
  const bool can_copy = source.base.has_value() && source.content != nullptr && is_no_room(shared.error());
  if (!can_copy) return is_no_room(shared.error()) ? Errno{ENOSPC} : shared.error();
  return copy_up_as(where, source, DataMode::kCopy);
}

Result<UpperEntry> Store::copy_up_as(ObjectRef where, const CopyUp& source, DataMode mode) {
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  VARVE_RETURN_IF_ERROR(build_copy(draft.ref(), source, mode));
  Result<UpperEntry> published = publish_copy(draft, where, source);
  if (published.ok()) ++objects_copied_up_;
  return published;
}

// The order matters: what changes the owner or the data clears set-id bits and capabilities, so these come
// after; and everything changes the times, so they come last.
Status Store::build_copy(ObjectRef draft, const CopyUp& source, DataMode mode) {
  const Attributes& attributes = source.attributes;
  const std::uint32_t type = attributes.mode & S_IFMT;
  const Shown shown{.mode = attributes.mode,
                    .uid = attributes.uid,
                    .gid = attributes.gid,
                    .rdev = attributes.rdev,
                    .symlink_target = source.symlink_target};
  VARVE_RETURN_IF_ERROR(overrides().enabled()
                            ? make_shown(draft, shown, true)
                            : make_node(draft, {.mode = type | (S_ISDIR(type) ? 0700u : 0600u),
                                                .rdev = attributes.rdev,
                                                .symlink_target = source.symlink_target}));
  if (source.base) {
    VARVE_ASSIGN(UniqueFd fd, open_object(draft, O_WRONLY));
    block::FdBlockFile file(std::move(fd));
    if (mode == DataMode::kShare) {
      VARVE_RETURN_IF_ERROR(file.truncate(source.base->size_bytes));
    } else {
      VARVE_RETURN_IF_ERROR(copy_data(*source.content, file));
      // The name must not reach the disk before the data: the file would be empty after a power loss.
      if (!is_volatile()) VARVE_RETURN_IF_ERROR(file.sync(true));
    }
  }
  if (!overrides().enabled()) {
    VARVE_RETURN_IF_ERROR(change_own_owner(draft, attributes.uid, attributes.gid));
  }
  VARVE_RETURN_IF_ERROR(copy_xattrs(draft, source));
  VARVE_RETURN_IF_ERROR(mark_copy(draft, source, mode));
  if (overrides().enabled()) {
    VARVE_RETURN_IF_ERROR(settle_shown(draft, shown));
  } else if (!S_ISLNK(type) && ::fchmodat(draft.fd, std::string(draft.name).c_str(),
                                          static_cast<mode_t>(attributes.mode & 07777), 0) != 0) {
    return Errno::last();
  }
  const struct timespec times[2] = {timespec_of(attributes.atime), timespec_of(attributes.mtime)};
  return change_times(draft, times);
}

Status Store::copy_xattrs(ObjectRef draft, const CopyUp& source) const {
  for (const auto& [name, value] : source.xattrs) {
    const char* const acl = acl_mark(name);
    const Status copied = acl != nullptr ? marks().write_text(draft, acl, value)
                                         : set_object_xattr(draft, stored_xattr_name(name), value);
    if (copied.ok()) continue;
    if (copied.error().value == EPERM && overrides().enabled()) {
      log_warning("the xattr {} of a copied-up object may not be set by this user; it is left out", name);
      continue;
    }
    if (copied.error().value != EOPNOTSUPP || must_copy(name)) return copied;
    log_debug("the upper's file system cannot hold the xattr {}; it is left out", name);
  }
  return {};
}

Status Store::mark_copy(ObjectRef draft, const CopyUp& source, DataMode mode) {
  const std::uint32_t type = source.attributes.mode & S_IFMT;
  if (S_ISCHR(type) && source.attributes.rdev == 0 && !overrides().enabled())
    VARVE_RETURN_IF_ERROR(marks().write_users_device(draft));
  if (source.base && mode == DataMode::kShare) {
    VARVE_ASSIGN(const std::uint64_t map_id, MapDirectory::new_id());
    VARVE_RETURN_IF_ERROR(marks().write_base(draft, *source.base, map_id));
  }
  const Status origin = marks().write_origin(draft, source.origin);
  if (!origin.ok()) {
    // The origin only keeps st_ino; an object full of its owner's xattrs must still be copied up. "user."
    // marks cannot be set on what is neither file nor directory.
    const bool optional = is_no_room(origin.error())
                              ? !source.base || mode == DataMode::kCopy
                              : origin.error().value == EPERM && !S_ISREG(type) && !S_ISDIR(type);
    if (!optional || source.indexed) return origin;
    log_warning("no room for the origin mark of a copied-up object: its inode number will change");
  }
  const std::int64_t other_names = static_cast<std::int64_t>(source.attributes.nlink) - 1;
  if (!source.indexed || other_names <= 0) return {};
  return marks().write_nlink_delta(draft, other_names);
}

Result<UpperEntry> Store::publish_copy(Draft& draft, ObjectRef where, const CopyUp& source) {
  VARVE_ASSIGN(const struct stat parent, stat_object({where.fd, {}}));
  if (source.indexed) {
    // Before the name: an entry without a name is swept at the next mount, a name without an entry would be a
    // hard link torn apart.
    VARVE_RETURN_IF_ERROR(note_needs_work());
    VARVE_ASSIGN(const struct stat status, stat_object(draft.ref()));
    VARVE_RETURN_IF_ERROR(index_.enter(source.origin, draft.ref(), status.st_ino));
  }
  // Looked at before it has its name: nothing may fail afterwards, or the caller would copy up once more.
  const Result<UpperEntry> made = look_up(draft.ref());
  Status published = made.ok() ? draft.publish(where) : Status(made.error());
  if (published.ok() && source.indexed) {
    published = index_.confirm(source.origin);
    // An entry that is not confirmed may be swept while layers still show names of the object.
    if (!published.ok()) VARVE_RETURN_IF_ERROR(draft.withdraw(where));
  }
  if (!published.ok()) {
    if (source.indexed) drop_entry(source.origin);
    return published.error();
  }
  // A copy-up is no change that anybody made to the parent.
  const struct timespec times[2] = {parent.st_atim, parent.st_mtim};
  const Status kept = change_times({where.fd, {}}, times);
  if (!kept.ok()) {
    log_warning("the directory of {}, which was copied up, has a new time of modification: {}", where.name,
                std::strerror(kept.error().value));
  }
  return made;
}

}  // namespace varve::upper
