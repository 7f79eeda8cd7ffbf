#include "fs/upper/whiteout.h"

#include <sys/sysmacros.h>

#include <string>

namespace varve::upper {

Status make_whiteout(ObjectRef where) {
  if (::mknodat(where.fd, std::string(where.name).c_str(), S_IFCHR, makedev(0, 0)) != 0) return Errno::last();
  return {};
}

bool looks_like_whiteout(const struct stat& status) {
  return S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

Result<bool> is_whiteout(const MarkStore& marks, ObjectRef object, const struct stat& status) {
  if (!looks_like_whiteout(status)) return false;
  VARVE_ASSIGN(const bool users, marks.is_users_device(object));
  return !users;
}

}  // namespace varve::upper
