// Objects born in the upper, and new names of old ones.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "fs/base/log.h"
#include "fs/format/posix_acl.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

Result<UniqueFd> make_file(ObjectRef where, std::uint32_t permissions) {
  UniqueFd file(::openat(where.fd, TerminatedName(where.name).c_str(),
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         static_cast<mode_t>(permissions)));
  if (!file.valid()) return Errno::last();
  return file;
}

Status make_node(ObjectRef where, const NodeKind& kind) {
  const std::string name(where.name);
  const auto permissions = static_cast<mode_t>(kind.mode & 07777);
  int failed = 0;
  if (S_ISREG(kind.mode)) {
    VARVE_RETURN_IF_ERROR(make_file(where, permissions));
  } else if (S_ISDIR(kind.mode)) {
    failed = ::mkdirat(where.fd, name.c_str(), permissions);
  } else if (S_ISLNK(kind.mode)) {
    failed = ::symlinkat(kind.symlink_target.c_str(), where.fd, name.c_str());
  } else {
    failed = ::mknodat(where.fd, name.c_str(), static_cast<mode_t>(kind.mode & S_IFMT) | permissions,
                       static_cast<dev_t>(kind.rdev));
  }
  if (failed != 0) return Errno::last();
  return {};
}

Result<Store::Birth> Store::plan_birth(ObjectRef where, const NewObject& object) const {
  // By a name, which costs less than the descriptor that a path through /proc would have to find again.
  const ObjectRef parent_ref{where.fd, "."};
  VARVE_ASSIGN(const struct stat status, stat_object(parent_ref));
  VARVE_ASSIGN(const Attributes parent, overrides().attributes(parent_ref, status));
  Birth birth;
  const bool inherits_group = (parent.mode & S_ISGID) != 0;
  birth.gid = inherits_group ? parent.gid : object.gid;
  birth.permissions = object.mode & 07777 & ~(object.umask & 0777);
  if (inherits_group && S_ISDIR(object.mode)) birth.permissions |= S_ISGID;
  if (S_ISLNK(object.mode)) return birth;  // has no permissions
  Result<std::string> acl = xattr(parent_ref, format::kDefaultAclXattr);
  if (acl.ok()) {
    birth.default_acl = std::move(*acl);
  } else if (acl.error().value != ENODATA && acl.error().value != EOPNOTSUPP) {
    return acl.error();
  }
  return birth;
}

// The plain case, at the price of one system call: the object is right from the moment it appears.
bool Store::can_create_in_place(const Birth& birth, const NewObject& object) const {
  const bool device_mark = S_ISCHR(object.mode) && object.rdev == 0;
  const bool plain = work_.umask_is_zero && !birth.default_acl && !object.opaque && !device_mark &&
                     object.uid == ::geteuid() && birth.gid == ::getegid();
  if (!plain || !overrides().enabled()) return plain;
  const std::uint32_t type = object.mode & S_IFMT;
  return permissions_stand(type, birth.permissions) && !stands_in({.mode = object.mode}, false);
}

namespace {

// `made` was made just now, so it has no marks. `permissions`: what it is to have; empty for a symbolic link.
Result<UpperEntry> born(ObjectRef made, std::optional<std::uint32_t> permissions) {
  VARVE_ASSIGN(struct stat status, stat_object(made));
  if (permissions && (status.st_mode & 07777) != *permissions) {
    // Somebody changed the umask of the process since the store was opened.
    VARVE_RETURN_IF_ERROR(change_object_mode(made, *permissions));
    VARVE_ASSIGN(status, stat_object(made));
  }
  UpperEntry entry;
  entry.kind = UpperEntry::Kind::kObject;
  entry.attributes = attributes_from_stat(status);
  entry.inode_number = status.st_ino;
  return entry;
}

void remove_failed(ObjectRef where, int flags) {
  if (::unlinkat(where.fd, TerminatedName(where.name).c_str(), flags) == 0) return;
  log_warning("{}, whose creation failed, could not be removed: {}", where.name, std::strerror(errno));
}

}  // namespace

Result<UpperEntry> Store::create_in_place(ObjectRef where, const Birth& birth, const NewObject& object) {
  VARVE_RETURN_IF_ERROR(make_node(where, {.mode = (object.mode & S_IFMT) | birth.permissions,
                                          .rdev = object.rdev,
                                          .symlink_target = object.symlink_target}));
  std::optional<std::uint32_t> permissions;
  if (!S_ISLNK(object.mode)) permissions = birth.permissions;
  Result<UpperEntry> made = born(where, permissions);
  if (!made.ok()) remove_failed(where, S_ISDIR(object.mode) ? AT_REMOVEDIR : 0);
  return made;
}

Result<UpperStore::Opened> Store::create_file_in_place(ObjectRef where, const Birth& birth) const {
  const int access_times = keep_access_times_ ? O_NOATIME : 0;
  Opened made;
  made.fd = UniqueFd(::openat(where.fd, TerminatedName(where.name).c_str(),
                              O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | access_times,
                              static_cast<mode_t>(birth.permissions)));
  if (!made.fd.valid()) return Errno::last();
  Result<UpperEntry> entry = born({made.fd.get(), {}}, birth.permissions);
  if (!entry.ok()) {
    remove_failed(where, 0);
    return entry.error();
  }
  made.entry = std::move(*entry);
  return made;
}

Result<UpperEntry> Store::create_staged(ObjectRef where, const Birth& birth, const NewObject& object,
                                        bool over_whiteout) {
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, birth.default_acl ? where.fd : -1));
  const ObjectRef made = draft.ref();
  const std::uint32_t asked = birth.default_acl ? object.mode & 07777 : birth.permissions;
  VARVE_RETURN_IF_ERROR(make_node(made, {.mode = (object.mode & S_IFMT) | asked,
                                         .rdev = object.rdev,
                                         .symlink_target = object.symlink_target}));
  VARVE_RETURN_IF_ERROR(settle_birth(made, birth, object));
  if (object.opaque) VARVE_RETURN_IF_ERROR(marks().write_opaque(made));
  if (S_ISCHR(object.mode) && object.rdev == 0) VARVE_RETURN_IF_ERROR(marks().write_users_device(made));
  return publish_new(draft, where, S_ISDIR(object.mode), over_whiteout);
}

Status Store::settle_birth(ObjectRef made, const Birth& birth, const NewObject& object) {
  VARVE_ASSIGN(const struct stat status, stat_object(made));
  if (status.st_uid != object.uid || status.st_gid != birth.gid) {
    VARVE_RETURN_IF_ERROR(change_owner(made, object.uid, birth.gid));
  }
  if (S_ISLNK(object.mode)) return {};
  // With a default ACL the kernel has computed the nine bits; only what the change of owner cleared is missing.
  const std::uint32_t bits = birth.default_acl ? status.st_mode & 0777 : birth.permissions & 0777;
  return change_mode(made, bits | (birth.permissions & 07000));
}

Result<UpperEntry> Store::publish_new(Draft& draft, ObjectRef where, bool is_directory,
                                      bool over_whiteout) const {
  // Looked at before it has its name: nothing fails afterwards.
  VARVE_ASSIGN(UpperEntry made, look_up(draft.ref()));
  if (over_whiteout) VARVE_RETURN_IF_ERROR(require_whiteout(where));
  VARVE_RETURN_IF_ERROR(over_whiteout ? draft.publish_over(where, is_directory) : draft.publish(where));
  return made;
}

Status Store::require_whiteout(ObjectRef where) const {
  VARVE_ASSIGN(const struct stat status, stat_object(where));
  VARVE_ASSIGN(const bool whiteout, is_whiteout(where, status));
  if (!whiteout) return Errno{EEXIST};
  return {};
}

Result<UpperStore::Opened> Store::create_open(ObjectRef where, const NewObject& file, bool over_whiteout) {
  VARVE_ASSIGN(const Birth birth, plan_birth(where, file));
  if (!over_whiteout && can_create_in_place(birth, file)) return create_file_in_place(where, birth);
  Opened made;
  VARVE_ASSIGN(made.entry, overrides().enabled() ? create_overridden(where, birth, file, over_whiteout)
                                                 : create_staged(where, birth, file, over_whiteout));
  return made;
}

Result<UpperEntry> Store::create(ObjectRef where, const NewObject& object, bool over_whiteout) {
  VARVE_ASSIGN(const Birth birth, plan_birth(where, object));
  if (!over_whiteout && can_create_in_place(birth, object)) return create_in_place(where, birth, object);
  return overrides().enabled() ? create_overridden(where, birth, object, over_whiteout)
                               : create_staged(where, birth, object, over_whiteout);
}

namespace {

Status link_object(ObjectRef existing, ObjectRef target) {
  const ObjectPath path(existing);
  if (::linkat(AT_FDCWD, path.c_str(), target.fd, TerminatedName(target.name).c_str(),
               path.must_follow() ? AT_SYMLINK_FOLLOW : 0) != 0) {
    return Errno::last();
  }
  return {};
}

}  // namespace

Status Store::link_lower_name(ObjectRef existing, ObjectRef where) {
  VARVE_ASSIGN(const struct stat status, stat_object(existing));
  VARVE_ASSIGN(const Marks now, marks().read(existing));
  // Both numbers are written down before the link decides which of them holds.
  const NlinkChange change{.delta = now.nlink_delta,
                           .links_after = std::uint64_t{status.st_nlink} + 1,
                           .delta_after = now.nlink_delta - 1};
  VARVE_RETURN_IF_ERROR(marks().write_nlink_change(existing, change));
  Status done = link_object(existing, where);
  if (done.ok()) {
    done = marks().write_nlink_delta(existing, change.delta_after);
    if (done.ok()) return {};
    if (::unlinkat(where.fd, TerminatedName(where.name).c_str(), 0) != 0) return Errno::last();
  }
  const Status restored = marks().write_nlink_delta(existing, change.delta);
  if (!restored.ok()) {
    log_warning("the number of links of {} may be wrong until the next mount: {}", where.name,
                std::strerror(restored.error().value));
  }
  return done;
}

Status Store::link(ObjectRef existing, ObjectRef where, bool over_whiteout) {
  if (!over_whiteout) return link_object(existing, where);
  VARVE_RETURN_IF_ERROR(require_whiteout(where));
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  VARVE_RETURN_IF_ERROR(link_object(existing, draft.ref()));
  return draft.publish_over(where, false);
}

}  // namespace varve::upper
