// What the store does otherwise where owners, modes and kinds of object are kept in overrides.

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <utility>

#include "fs/base/log.h"
#include "fs/block/fd_block_file.h"
#include "fs/format/posix_acl.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

using format::Acl;
using format::kAccessAclXattr;
using format::kDefaultAclXattr;

namespace {

constexpr const char* kAccessMark = "acl_access";
constexpr const char* kDefaultMark = "acl_default";

bool carries_marks(const struct stat& status) {
  return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

format::OverrideStat as_it_is(const struct stat& status) {
  return {.uid = status.st_uid, .gid = status.st_gid, .permissions = status.st_mode & 07777};
}

}  // namespace

// --- making ---

bool Store::stands_in(const Shown& shown, bool needs_marks) const {
  const std::uint32_t type = shown.mode & S_IFMT;
  if (type == S_IFREG || type == S_IFDIR) return false;
  if (S_ISCHR(type) || S_ISBLK(type) || overrides().always()) return true;
  return needs_marks && marks().space() == MarkStore::Namespace::kUser;
}

Status Store::make_stand_in(ObjectRef draft, const Shown& shown) {
  VARVE_RETURN_IF_ERROR(make_node(draft, {.mode = S_IFREG | 0600, .rdev = 0, .symlink_target = {}}));
  if (!S_ISLNK(shown.mode)) return {};
  VARVE_ASSIGN(UniqueFd fd, open_object(draft, O_WRONLY));
  block::FdBlockFile file(std::move(fd));
  VARVE_RETURN_IF_ERROR(file.write_at(0, std::as_bytes(std::span(shown.symlink_target))));
  // The name must not reach the disk before the target does.
  return is_volatile() ? Status() : file.sync(true);
}

Status Store::make_shown(ObjectRef draft, const Shown& shown, bool needs_marks) {
  if (stands_in(shown, needs_marks)) return make_stand_in(draft, shown);
  const std::uint32_t type = shown.mode & S_IFMT;
  VARVE_RETURN_IF_ERROR(make_node(draft, {.mode = type | private_permissions(type),
                                          .rdev = shown.rdev,
                                          .symlink_target = shown.symlink_target}));
  VARVE_ASSIGN(const struct stat made, stat_object(draft));
  if (carries_marks(made)) return {};
  VARVE_ASSIGN(const bool owned, try_owner(draft, made, shown.uid, shown.gid));
  if (owned && permissions_stand(type, shown.mode & 07777)) return {};
  if (::unlinkat(draft.fd, TerminatedName(draft.name).c_str(), 0) != 0) return Errno::last();
  return make_stand_in(draft, shown);
}

Result<bool> Store::try_owner(ObjectRef object, const struct stat& status, std::uint32_t uid,
                              std::uint32_t gid) const {
  if (status.st_uid == uid && status.st_gid == gid) return true;
  if (overrides().always()) return false;
  const Status changed = change_own_owner(object, uid, gid);
  if (changed.ok()) return true;
  if (is_not_permitted(changed.error())) return false;
  return changed.error();
}

Status Store::settle_shown(ObjectRef draft, const Shown& shown) {
  VARVE_ASSIGN(struct stat made, stat_object(draft));
  const std::uint32_t type = shown.mode & S_IFMT;
  const bool is_itself = (made.st_mode & S_IFMT) == type;
  if (is_itself) {
    VARVE_ASSIGN(const bool owned, try_owner(draft, made, shown.uid, shown.gid));
    if (owned && permissions_stand(type, shown.mode & 07777)) {
      return S_ISLNK(type) ? Status() : change_object_mode(draft, shown.mode & 07777);
    }
    if (owned) {
      VARVE_ASSIGN(made, stat_object(draft));
    }
  }
  return overrides().write(draft, made,
                           {.uid = shown.uid,
                            .gid = shown.gid,
                            .permissions = shown.mode & 07777,
                            .type = is_itself ? 0 : type,
                            .rdev = shown.rdev});
}

Result<Store::ShownBirth> Store::plan_shown(const Birth& birth, const NewObject& object) const {
  ShownBirth plan;
  plan.shown = {.mode = (object.mode & S_IFMT) | birth.permissions,
                .uid = object.uid,
                .gid = birth.gid,
                .rdev = object.rdev,
                .symlink_target = object.symlink_target};
  if (!birth.default_acl) return plan;
  const std::optional<Acl> acl = format::parse_acl(*birth.default_acl);
  if (!acl) {
    log_error("the default access control list of a directory cannot be understood");
    return Errno{EIO};
  }
  const format::InheritedAcl inherited = format::inherit_acl(*acl, object.mode & 0777);
  plan.shown.mode = (object.mode & S_IFMT) | (birth.permissions & 07000) | inherited.permissions;
  if (inherited.access) plan.access_acl = format::format_acl(*inherited.access);
  return plan;
}

Status Store::settle_shown_birth(ObjectRef made, const ShownBirth& birth) {
  if (birth.access_acl) VARVE_RETURN_IF_ERROR(marks().write_text(made, kAccessMark, *birth.access_acl));
  return settle_shown(made, birth.shown);
}

Result<UpperEntry> Store::create_overridden(ObjectRef where, const Birth& birth, const NewObject& object,
                                            bool over_whiteout) {
  VARVE_ASSIGN(const ShownBirth plan, plan_shown(birth, object));
  VARVE_ASSIGN(Draft draft, Draft::begin(stage_, -1));
  const ObjectRef made = draft.ref();
  VARVE_RETURN_IF_ERROR(make_shown(made, plan.shown, plan.access_acl.has_value()));
  if (birth.default_acl && S_ISDIR(object.mode)) {
    VARVE_RETURN_IF_ERROR(marks().write_text(made, kDefaultMark, *birth.default_acl));
  }
  if (object.opaque) VARVE_RETURN_IF_ERROR(marks().write_opaque(made));
  VARVE_RETURN_IF_ERROR(settle_shown_birth(made, plan));
  return publish_new(draft, where, S_ISDIR(object.mode), over_whiteout);
}

// --- looking ---

Result<std::uint8_t> Store::listed_type(ObjectRef object) const {
  const Result<struct stat> status = stat_object(object);
  if (!status.ok()) {
    if (status.error().value == ENOENT) return static_cast<std::uint8_t>(0);  // removed meanwhile
    return status.error();
  }
  VARVE_ASSIGN(const Attributes shown, overrides().attributes(object, *status));
  return static_cast<std::uint8_t>(IFTODT(shown.mode));
}

Result<std::string> Store::read_stand_in(ObjectRef link) const {
  VARVE_ASSIGN(UniqueFd fd, open_object(link, O_RDONLY | O_NONBLOCK));
  const block::FdBlockFile file(std::move(fd));
  std::string target(PATH_MAX, '\0');
  VARVE_ASSIGN(const std::size_t got, file.read_at(0, std::as_writable_bytes(std::span(target))));
  target.resize(got);
  if (!target.empty() && target.size() < PATH_MAX && target.find('\0') == std::string::npos) return target;
  log_error("{}: stands for a symbolic link, but holds no target", link.name);
  return Errno{EIO};
}

// --- attributes ---

Status Store::change_shown_mode(ObjectRef object, std::uint32_t permissions) {
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  if (S_ISLNK(status.st_mode)) return Errno{EOPNOTSUPP};
  if (!carries_marks(status)) return change_object_mode(object, permissions);
  VARVE_ASSIGN(std::optional<format::OverrideStat> now, overrides().read(object, status));
  if (now && now->type == S_IFLNK) return Errno{EOPNOTSUPP};
  const Result<std::string> stored = acl_of(object, kAccessAclXattr);
  if (stored.ok()) {
    std::optional<Acl> acl = format::parse_acl(*stored);
    if (!acl) return Errno{EIO};
    format::change_permissions(*acl, permissions);
    VARVE_RETURN_IF_ERROR(marks().write_text(object, kAccessMark, format::format_acl(*acl)));
  } else if (stored.error().value != ENODATA) {
    return stored.error();
  }
  if (!now && permissions_stand(status.st_mode & S_IFMT, permissions)) {
    return change_object_mode(object, permissions);
  }
  if (!now) now = as_it_is(status);
  now->permissions = permissions;
  return overrides().write(object, status, *now);
}

// As chown_common and should_remove_suid of the kernel (fs/open.c, fs/attr.c).
Status Store::change_shown_owner(ObjectRef object, std::int64_t uid, std::int64_t gid) {
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  VARVE_ASSIGN(std::optional<format::OverrideStat> now, overrides().read(object, status));
  if (!now) {
    const Status changed = overrides().always() ? Status(Errno{EPERM}) : change_own_owner(object, uid, gid);
    if (changed.ok() || !is_not_permitted(changed.error()) || !carries_marks(status)) return changed;
    now = as_it_is(status);
  }
  if (uid >= 0) now->uid = static_cast<std::uint32_t>(uid);
  if (gid >= 0) now->gid = static_cast<std::uint32_t>(gid);
  if (!S_ISDIR(status.st_mode)) {
    now->permissions &= ~static_cast<std::uint32_t>(S_ISUID);
    if ((now->permissions & S_IXGRP) != 0) now->permissions &= ~static_cast<std::uint32_t>(S_ISGID);
  }
  // Changes no owner; takes file capabilities away. First, so that no new owner has those of the old.
  VARVE_RETURN_IF_ERROR(change_own_owner(object, -1, -1));
  return overrides().write(object, status, *now);
}

// --- access control lists ---

const char* Store::acl_mark(std::string_view xattr_name) const {
  if (!overrides().enabled()) return nullptr;
  if (xattr_name == kAccessAclXattr) return kAccessMark;
  return xattr_name == kDefaultAclXattr ? kDefaultMark : nullptr;
}

Result<std::string> Store::acl_of(ObjectRef object, std::string_view xattr_name) const {
  Result<std::string> kept = marks().read_text(object, acl_mark(xattr_name));
  if (kept.ok() || (kept.error().value != ENODATA && kept.error().value != EOPNOTSUPP)) return kept;
  // One that another program set.
  Result<std::string> own = get_object_xattr(object, std::string(xattr_name));
  if (!own.ok() && own.error().value == EOPNOTSUPP) return Errno{ENODATA};
  return own;
}

Status Store::set_acl(ObjectRef object, std::string_view xattr_name, std::string_view value) {
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  const std::optional<Acl> acl = format::parse_acl(value);
  if (!acl) return Errno{EINVAL};
  // FIFOs and sockets that are stored as themselves: the file system below keeps the list.
  if (!carries_marks(status)) return set_object_xattr(object, std::string(xattr_name), value);
  if (xattr_name == kDefaultAclXattr) {
    if (!S_ISDIR(status.st_mode)) return Errno{EACCES};
    return marks().write_text(object, kDefaultMark, value);
  }
  VARVE_ASSIGN(const Attributes shown, overrides().attributes(object, status));
  const Result<std::string> before = marks().read_text(object, kAccessMark);
  VARVE_RETURN_IF_ERROR(format::is_minimal(*acl) ? remove_acl(object, xattr_name)
                                                 : marks().write_text(object, kAccessMark, value));
  const Status changed = change_shown_mode(object, (shown.mode & 07000) | format::permissions_of(*acl));
  if (changed.ok()) return {};
  const Status restored = before.ok() ? marks().write_text(object, kAccessMark, *before)
                                      : marks().remove_text(object, kAccessMark);
  if (!restored.ok()) {
    log_warning("{} has a new access control list, but not the mode that goes with it: {}", object.name,
                std::strerror(restored.error().value));
  }
  return changed;
}

Status Store::remove_acl(ObjectRef object, std::string_view xattr_name) {
  VARVE_ASSIGN(const struct stat status, stat_object(object));
  if (carries_marks(status)) VARVE_RETURN_IF_ERROR(marks().remove_text(object, acl_mark(xattr_name)));
  const Status removed = remove_object_xattr(object, std::string(xattr_name));
  const int error = error_number(removed);
  return error == ENODATA || error == EOPNOTSUPP ? Status() : removed;
}

}  // namespace varve::upper
