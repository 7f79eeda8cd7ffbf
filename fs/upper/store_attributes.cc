// Marks, attributes and xattrs of objects of the upper.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "fs/base/log.h"
#include "fs/format/posix_acl.h"
#include "fs/upper/object_path.h"
#include "fs/upper/store.h"
#include "fs/upper/terminated_name.h"
#include "fs/upper/xattr_escape.h"

namespace varve::upper {

// --- marks ---

Status Store::set_opaque(ObjectRef directory) {
  return marks().write_opaque(directory);
}

Status Store::set_redirect(ObjectRef directory, std::string_view lower_path) {
  return marks().write_redirect(directory, lower_path);
}

void Store::drop_index(Origin origin) {
  if (!index_.has(origin)) return;
  const std::string name = HardlinkIndex::name_of(origin);
  const Result<std::uint64_t> map_id = map_of_last_name({index_.fd(), name});
  drop_entry(origin);
  if (map_id.ok() && *map_id != 0) remove_map(*map_id);
}

void Store::drop_entry(const Origin& origin) {
  const Status dropped = index_.drop(origin);
  if (dropped.ok() || dropped.error().value == ENOENT) return;
  log_warning("work directory: index/{} stays until the next mount: {}", HardlinkIndex::name_of(origin),
              std::strerror(dropped.error().value));
}

// --- attributes ---

Status Store::change_mode(ObjectRef object, std::uint32_t permissions) {
  if (overrides().enabled()) return change_shown_mode(object, permissions & 07777);
  return change_object_mode(object, permissions);
}

// The kernel clears set-id bits and capabilities of what is no directory, for root too (chown_common of
// fs/open.c).
Status change_own_owner(ObjectRef object, std::int64_t uid, std::int64_t gid) {
  if (::fchownat(object.fd, TerminatedName(object.name).c_str(), static_cast<uid_t>(uid),
                 static_cast<gid_t>(gid), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0) {
    return Errno::last();
  }
  return {};
}

Status Store::change_owner(ObjectRef object, std::int64_t uid, std::int64_t gid) {
  return overrides().enabled() ? change_shown_owner(object, uid, gid) : change_own_owner(object, uid, gid);
}

Status Store::change_times(ObjectRef object, const struct timespec (&times)[2]) {
  return change_object_times(object, times);
}

// --- xattrs ---

Result<std::vector<std::string>> Store::xattr_names(ObjectRef object) const {
  VARVE_ASSIGN(const std::vector<std::string> stored, list_object_xattrs(object));
  std::vector<std::string> names;
  for (const std::string& name : stored) {
    // One that is kept in a mark is added below.
    if (acl_mark(name) != nullptr) continue;
    if (std::optional<std::string> shown = shown_xattr_name(name)) names.push_back(std::move(*shown));
  }
  if (!overrides().enabled()) return names;
  for (const char* name : {format::kAccessAclXattr, format::kDefaultAclXattr}) {
    const Result<std::string> value = acl_of(object, name);
    if (value.ok()) names.emplace_back(name);
  }
  return names;
}

Result<std::string> Store::xattr(ObjectRef object, std::string_view name) const {
  if (acl_mark(name) != nullptr) return acl_of(object, name);
  return get_object_xattr(object, stored_xattr_name(name));
}

Status Store::set_xattr(ObjectRef object, std::string_view name, std::string_view value, int flags) {
  if (acl_mark(name) != nullptr) return set_acl(object, name, value);
  return set_object_xattr(object, stored_xattr_name(name), value, flags);
}

Status Store::remove_xattr(ObjectRef object, std::string_view name) {
  if (acl_mark(name) != nullptr) return remove_acl(object, name);
  return remove_object_xattr(object, stored_xattr_name(name));
}

}  // namespace varve::upper
