// Objects born in the upper, and new names of old ones.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <utility>

#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/whiteout.h"

namespace varve::upper {

Status make_node(ObjectRef where, const NodeKind& kind) {
  const std::string name(where.name);
  const auto permissions = static_cast<mode_t>(kind.mode & 07777);
  int failed = 0;
  if (S_ISREG(kind.mode)) {
    const int fd =
        ::openat(where.fd, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, permissions);
    if (fd >= 0) ::close(fd);
    failed = fd < 0 ? -1 : 0;
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
  const ObjectRef parent_ref{where.fd, {}};
  VARVE_ASSIGN(const struct stat status, stat_object(parent_ref));
  VARVE_ASSIGN(const Attributes parent, overrides().attributes(parent_ref, status));
  Birth birth;
  const bool inherits_group = (parent.mode & S_ISGID) != 0;
  birth.gid = inherits_group ? parent.gid : object.gid;
  birth.permissions = object.mode & 07777 & ~(object.umask & 0777);
  if (inherits_group && S_ISDIR(object.mode)) birth.permissions |= S_ISGID;
  if (S_ISLNK(object.mode)) return birth;  // has no permissions
  Result<std::string> acl = xattr(parent_ref, "system.posix_acl_default");
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

Status Store::create_in_place(ObjectRef where, const Birth& birth, const NewObject& object) {
  return make_node(where, {.mode = (object.mode & S_IFMT) | birth.permissions,
                           .rdev = object.rdev,
                           .symlink_target = object.symlink_target});
}

Status Store::create_staged(ObjectRef where, const Birth& birth, const NewObject& object,
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

Status Store::publish_new(Draft& draft, ObjectRef where, bool is_directory, bool over_whiteout) const {
  if (!over_whiteout) return draft.publish(where);
  VARVE_RETURN_IF_ERROR(require_whiteout(where));
  return draft.publish_over(where, is_directory);
}

Status Store::require_whiteout(ObjectRef where) const {
  VARVE_ASSIGN(const struct stat status, stat_object(where));
  VARVE_ASSIGN(const bool whiteout, is_whiteout(marks(), where, status));
  if (!whiteout) return Errno{EEXIST};
  return {};
}

Result<UpperEntry> Store::create(ObjectRef where, const NewObject& object, bool over_whiteout) {
  VARVE_ASSIGN(const Birth birth, plan_birth(where, object));
  if (!over_whiteout && can_create_in_place(birth, object)) {
    VARVE_RETURN_IF_ERROR(create_in_place(where, birth, object));
    VARVE_ASSIGN(UpperEntry made, look_up(where));
    if (S_ISLNK(object.mode) || (made.attributes.mode & 07777) == birth.permissions) return made;
    // Somebody changed the umask of the process since the store was opened.
    VARVE_RETURN_IF_ERROR(change_mode(where, birth.permissions));
    return look_up(where);
  }
  VARVE_RETURN_IF_ERROR(overrides().enabled() ? create_overridden(where, birth, object, over_whiteout)
                                              : create_staged(where, birth, object, over_whiteout));
  return look_up(where);
}

Status Store::link(ObjectRef existing, ObjectRef where, bool over_whiteout) {
  const auto link_to = [&](ObjectRef target) -> Status {
    const ObjectPath path(existing);
    if (::linkat(AT_FDCWD, path.c_str(), target.fd, std::string(target.name).c_str(),
                 path.must_follow() ? AT_SYMLINK_FOLLOW : 0) != 0) {
      return Errno::last();
    }
    return {};
  };
  if (!over_whiteout) return link_to(where);
  VARVE_RETURN_IF_ERROR(require_whiteout(where));
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  VARVE_RETURN_IF_ERROR(link_to(draft.ref()));
  return draft.publish_over(where, false);
}

}  // namespace varve::upper
