#include "fs/upper/object_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>

namespace varve::upper {
namespace {

constexpr std::size_t kSmallXattrBytes = 512;
constexpr std::size_t kXattrLimitBytes = 65536;  // XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h

// Calls `read(buffer, size)` with a buffer that is large enough. An xattr may grow between two calls, so the
// size is not asked for first.
template <class Read>
Result<std::string> read_growing(const Read& read) {
  for (std::size_t size = kSmallXattrBytes;; size = kXattrLimitBytes) {
    std::string buffer(size, '\0');
    const ssize_t got = read(buffer.data(), buffer.size());
    if (got >= 0) {
      buffer.resize(static_cast<std::size_t>(got));
      return buffer;
    }
    if (errno != ERANGE || size == kXattrLimitBytes) return Errno::last();
  }
}

}  // namespace

ObjectPath::ObjectPath(ObjectRef object)
    : path_("/proc/self/fd/" + std::to_string(object.fd)), must_follow_(object.name.empty()) {
  if (!object.name.empty()) path_.append("/").append(object.name);
}

Result<UniqueFd> open_object(ObjectRef object, int flags) {
  const int fd = object.name.empty()
                     ? ::open(ObjectPath(object).c_str(), flags | O_CLOEXEC)
                     : ::openat(object.fd, std::string(object.name).c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return Errno::last();
  return UniqueFd(fd);
}

Result<UniqueFd> open_object_noatime(ObjectRef object, int flags) {
  Result<UniqueFd> opened = open_object(object, flags | O_NOATIME);
  if (opened.ok() || opened.error().value != EPERM) return opened;
  return open_object(object, flags);
}

Result<struct stat> stat_object(ObjectRef object) {
  struct stat status {};
  if (::fstatat(object.fd, std::string(object.name).c_str(), &status, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) !=
      0) {
    return Errno::last();
  }
  return status;
}

Result<std::string> get_object_xattr(ObjectRef object, const std::string& name) {
  const ObjectPath path(object);
  return read_growing([&](char* buffer, std::size_t size) {
    return path.must_follow() ? ::getxattr(path.c_str(), name.c_str(), buffer, size)
                              : ::lgetxattr(path.c_str(), name.c_str(), buffer, size);
  });
}

Result<std::vector<std::string>> list_object_xattrs(ObjectRef object) {
  const ObjectPath path(object);
  Result<std::string> list = read_growing([&](char* buffer, std::size_t size) {
    return path.must_follow() ? ::listxattr(path.c_str(), buffer, size)
                              : ::llistxattr(path.c_str(), buffer, size);
  });
  std::vector<std::string> names;
  if (!list.ok()) {
    if (list.error().value == EOPNOTSUPP) return names;
    return list.error();
  }
  for (std::size_t at = 0; at < list->size();) {
    names.emplace_back(list->c_str() + at);
    at += names.back().size() + 1;
  }
  return names;
}

Status set_object_xattr(ObjectRef object, const std::string& name, std::string_view value, int flags) {
  const ObjectPath path(object);
  const int failed = path.must_follow()
                         ? ::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags)
                         : ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags);
  if (failed != 0) return Errno::last();
  return {};
}

Status remove_object_xattr(ObjectRef object, const std::string& name) {
  const ObjectPath path(object);
  const int failed = path.must_follow() ? ::removexattr(path.c_str(), name.c_str())
                                        : ::lremovexattr(path.c_str(), name.c_str());
  if (failed != 0) return Errno::last();
  return {};
}

bool is_disk_fault(Errno error) {
  return error.value == EIO || error.value == ENOSPC || error.value == EDQUOT || error.value == ENOMEM ||
         error.value == EROFS;
}

Result<std::vector<DirectoryEntry>> read_directory(ObjectRef directory) {
  // The daemon lists for its own needs, too, and stat must not move the time of access that it tells of.
  VARVE_ASSIGN(UniqueFd fd, open_object_noatime(directory, O_RDONLY | O_DIRECTORY));
  struct CloseDirectory {
    void operator()(DIR* stream) const { ::closedir(stream); }
  };
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(fd.get()));
  if (stream == nullptr) return Errno::last();
  fd.release();
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const struct dirent* entry = ::readdir(stream.get());  // one stream, one thread
    if (entry == nullptr) {
      if (errno != 0) return Errno::last();
      return entries;
    }
    const std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    entries.push_back({std::string(name), entry->d_type, entry->d_ino});
  }
}

}  // namespace varve::upper
