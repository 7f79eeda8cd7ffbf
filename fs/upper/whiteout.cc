#include "fs/upper/whiteout.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

#include "fs/upper/object_path.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {

Status make_whiteout(ObjectRef where) {
  if (::mknodat(where.fd, TerminatedName(where.name).c_str(), S_IFCHR, makedev(0, 0)) != 0)
    return Errno::last();
  return {};
}

Result<bool> is_whiteout(const MarkStore& marks, ObjectRef object, const struct stat& status) {
  if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(0, 0)) return false;
  VARVE_ASSIGN(const bool users, marks.is_users_device(object));
  return !users;
}

Status SharedWhiteout::begin() {
  const ObjectRef made{stage_.fd(), kName};
  VARVE_RETURN_IF_ERROR(make_whiteout(made));
  exists_ = true;
  VARVE_ASSIGN(const struct stat status, stat_object(made));
  inode_number_ = status.st_ino;
  return {};
}

Status SharedWhiteout::make(ObjectRef where) {
  const MutexLock lock(mutex_);
  // A second time when the first device has as many links as it can have, or somebody has removed it.
  for (bool again = false;; again = true) {
    if (cannot_link_) return make_whiteout(where);
    if (!exists_) VARVE_RETURN_IF_ERROR(begin());
    if (::linkat(stage_.fd(), kName, where.fd, TerminatedName(where.name).c_str(), 0) == 0) return {};
    const Errno failed = Errno::last();
    if (failed.value == EPERM || failed.value == EOPNOTSUPP) {
      cannot_link_ = true;
    } else if ((failed.value != EMLINK && failed.value != ENOENT) || again) {
      return failed;
    }
    // Its number may be another object's when its last name has gone.
    inode_number_ = 0;
    stage_.discard(kName);
    exists_ = false;
  }
}

}  // namespace varve::upper
