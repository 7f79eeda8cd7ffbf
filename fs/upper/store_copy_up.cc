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
#include "fs/upper/terminated_name.h"
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

Result<UpperStore::Copied> Store::copy_up(ObjectRef where, const CopyUp& source) {
  Result<Copied> shared = copy_up_as(where, source, DataMode::kShare);
  if (shared.ok()) return shared;
  // Perhaps only the base mark did not fit beside the object's own xattrs.
  const bool can_copy = source.base.has_value() && source.content != nullptr && is_no_room(shared.error());
  if (!can_copy) return is_no_room(shared.error()) ? Errno{ENOSPC} : shared.error();
  return copy_up_as(where, source, DataMode::kCopy);
}

Result<UpperStore::Copied> Store::copy_up_as(ObjectRef where, const CopyUp& source, DataMode mode) {
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  VARVE_ASSIGN(Copied made, build_copy(draft.ref(), source, mode));
  VARVE_RETURN_IF_ERROR(publish_copy(draft, where, source, made.inode_number));
  ++objects_copied_up_;
  return made;
}

// The order matters: what changes the owner or the data clears set-id bits and capabilities, so these come
// after; and everything changes the times, so they come last. What stands already is not set again: each call costs the file
// system below a change of the inode.
Result<UpperStore::Copied> Store::build_copy(ObjectRef draft, const CopyUp& source, DataMode mode) {
  const Attributes& attributes = source.attributes;
  const std::uint32_t type = attributes.mode & S_IFMT;
  VARVE_ASSIGN(const struct stat begun, begin_copy(draft, source, mode));
  const bool own = begun.st_uid == attributes.uid && begun.st_gid == attributes.gid;
  if (!overrides().enabled() && !own) {
    VARVE_RETURN_IF_ERROR(change_own_owner(draft, attributes.uid, attributes.gid));
  }
  VARVE_RETURN_IF_ERROR(copy_xattrs(draft, source));
  Copied made{.inode_number = begun.st_ino, .marks = {}};
  VARVE_ASSIGN(made.marks, mark_copy(draft, source, mode));
  // An access control list has changed the mode.
  const bool mode_stands =
      own && source.xattrs.empty() && (begun.st_mode & 07777) == (attributes.mode & 07777);
  if (overrides().enabled()) {
    VARVE_RETURN_IF_ERROR(settle_shown(draft, shown_of(source)));
  } else if (!S_ISLNK(type) && !mode_stands &&
             ::fchmodat(draft.fd, TerminatedName(draft.name).c_str(),
                        static_cast<mode_t>(attributes.mode & 07777), 0) != 0) {
    return Errno::last();
  }
  const struct timespec times[2] = {timespec_of(attributes.atime), timespec_of(attributes.mtime)};
  VARVE_RETURN_IF_ERROR(change_times(draft, times));
  return made;
}

Store::Shown Store::shown_of(const CopyUp& source) {
  return {.mode = source.attributes.mode,
          .uid = source.attributes.uid,
          .gid = source.attributes.gid,
          .rdev = source.attributes.rdev,
          .symlink_target = source.symlink_target};
}

Result<struct stat> Store::begin_copy(ObjectRef draft, const CopyUp& source, DataMode mode) {
  const Attributes& attributes = source.attributes;
  const std::uint32_t type = attributes.mode & S_IFMT;
  // Closed to others until it has its owner, and open to us until it has its marks.
  const std::uint32_t open_to_us = S_ISDIR(type) ? 0700u : 0600u;
  const bool own = attributes.uid == ::geteuid() && attributes.gid == ::getegid() &&
                   (attributes.mode & open_to_us) == open_to_us;
  const std::uint32_t permissions = own ? attributes.mode & 0777 : open_to_us;
  UniqueFd file;
  if (overrides().enabled()) {
    VARVE_RETURN_IF_ERROR(make_shown(draft, shown_of(source), true));
    if (source.base) {
      VARVE_ASSIGN(file, open_object(draft, O_WRONLY));
    }
  } else if (S_ISREG(type)) {
    VARVE_ASSIGN(file, make_file(draft, permissions));
  } else {
    VARVE_RETURN_IF_ERROR(make_node(
        draft,
        {.mode = type | permissions, .rdev = attributes.rdev, .symlink_target = source.symlink_target}));
  }
  if (source.base) VARVE_RETURN_IF_ERROR(fill_copy(std::move(file), source, mode));
  return stat_object(draft);
}

Status Store::fill_copy(UniqueFd file, const CopyUp& source, DataMode mode) const {
  block::FdBlockFile data(std::move(file));
  if (mode == DataMode::kShare) return data.truncate(source.base->size_bytes);
  VARVE_RETURN_IF_ERROR(copy_data(*source.content, data));
  // The name must not reach the disk before the data: the file would be empty after a power loss.
  return is_volatile() ? Status() : data.sync(true);
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

Result<Marks> Store::mark_copy(ObjectRef draft, const CopyUp& source, DataMode mode) {
  const std::uint32_t type = source.attributes.mode & S_IFMT;
  Marks written;
  if (S_ISCHR(type) && source.attributes.rdev == 0 && !overrides().enabled())
    VARVE_RETURN_IF_ERROR(marks().write_users_device(draft));
  if (source.base && mode == DataMode::kShare) {
    VARVE_ASSIGN(written.map_id, maps_.new_id());
    // Beside the origin it would not fit into an inode of 256 bytes: a block more for each file.
    VARVE_RETURN_IF_ERROR(marks().write_base(draft, *source.base, written.map_id));
    written.base = source.base;
    written.origin = source.origin;
  } else {
    const Status origin = marks().write_origin(draft, source.origin);
    // The origin only keeps st_ino; an object full of its owner's xattrs must still be copied up. "user."
    // marks cannot be set on what is neither file nor directory.
    const bool optional = origin.ok() || is_no_room(origin.error()) ||
                          (origin.error().value == EPERM && !S_ISREG(type) && !S_ISDIR(type));
    if (!origin.ok() && (!optional || source.indexed)) return origin.error();
    if (origin.ok()) {
      written.origin = source.origin;
    } else {
      log_warning("no room for the origin mark of a copied-up object: its inode number will change");
    }
  }
  const std::int64_t other_names = static_cast<std::int64_t>(source.attributes.nlink) - 1;
  if (!source.indexed || other_names <= 0) return written;
  VARVE_RETURN_IF_ERROR(marks().write_nlink_delta(draft, other_names));
  written.nlink_delta = other_names;
  return written;
}

Status Store::publish_copy(Draft& draft, ObjectRef where, const CopyUp& source, std::uint64_t inode_number) {
  // By a name, which costs less than the descriptor that a path through /proc would have to find again.
  const ObjectRef parent{where.fd, "."};
  VARVE_ASSIGN(const struct stat before, stat_object(parent));
  if (source.indexed) {
    // Before the name: an entry without a name is swept at the next mount, a name without an entry would be a
    // hard link torn apart.
    VARVE_RETURN_IF_ERROR(note_needs_work());
    VARVE_RETURN_IF_ERROR(index_.enter(source.origin, draft.ref(), inode_number));
  }
  Status published = draft.publish(where);
  if (published.ok() && source.indexed) {
    published = index_.confirm(source.origin);
    // An entry that is not confirmed may be swept while layers still show names of the object.
    if (!published.ok()) VARVE_RETURN_IF_ERROR(draft.withdraw(where));
  }
  if (!published.ok()) {
    if (source.indexed) drop_entry(source.origin);
    return published;
  }
  // A copy-up is no change that anybody made to the parent. Nothing may fail any more, or the caller would copy up once more.
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  const Status kept = change_times(parent, times);
  if (!kept.ok()) {
    log_warning("the directory of {}, which was copied up, has a new time of modification: {}", where.name,
                std::strerror(kept.error().value));
  }
  return {};
}

}  // namespace varve::upper
