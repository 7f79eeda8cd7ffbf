#include "fs/upper/object_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "fs/upper/terminated_name.h"

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

namespace {

// Calls that take a directory and a name, newer than the C library of Debian 12: the same number on all architectures but alpha
// (Linux scripts/syscall.tbl).
constexpr long kFchmodat2 = 452;   // Linux 6.6
constexpr long kSetxattrat = 463;  // Linux 6.13, this one and the next three
constexpr long kGetxattrat = 464;
constexpr long kListxattrat = 465;
constexpr long kRemovexattrat = 466;

// struct xattr_args of linux/xattr.h.
struct XattrArguments {
  alignas(8) std::uint64_t value = 0;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;
};

// Whether the kernel lacks the calls for xattrs; they came together.
std::atomic<bool> lacks_xattrat{false};

// Runs `by_name` for a name in a directory, and `by_path` for anything else or where the kernel knows no such call: a path
// through /proc costs some microseconds more.
template <class ByName, class ByPath>
auto call_for(ObjectRef object, std::atomic<bool>& lacks_it, const ByName& by_name, const ByPath& by_path) {
  if (!object.name.empty() && !lacks_it.load(std::memory_order_relaxed)) {
    const auto result = by_name(TerminatedName(object.name));
    if (result >= 0 || errno != ENOSYS) return result;
    lacks_it.store(true, std::memory_order_relaxed);
  }
  return by_path(ObjectPath(object));
}

}  // namespace

ObjectPath::ObjectPath(ObjectRef object)
    : path_("/proc/self/fd/" + std::to_string(object.fd)), must_follow_(object.name.empty()) {
  if (!object.name.empty()) path_.append("/").append(object.name);
}

Result<UniqueFd> open_object(ObjectRef object, int flags) {
  const int fd = object.name.empty() ? ::open(ObjectPath(object).c_str(), flags | O_CLOEXEC)
                                     : ::openat(object.fd, TerminatedName(object.name).c_str(),
                                                flags | O_CLOEXEC | O_NOFOLLOW);
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
  if (::fstatat(object.fd, TerminatedName(object.name).c_str(), &status,
                AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0) {
    return Errno::last();
  }
  return status;
}

Result<std::string> get_object_xattr(ObjectRef object, const std::string& name) {
  return read_growing([&](char* buffer, std::size_t size) {
    return call_for(
        object, lacks_xattrat,
        [&](const TerminatedName& at) -> ssize_t {
          XattrArguments arguments{.value = reinterpret_cast<std::uintptr_t>(buffer),
                                   .size = static_cast<std::uint32_t>(size)};
          return ::syscall(kGetxattrat, object.fd, at.c_str(), AT_SYMLINK_NOFOLLOW, name.c_str(), &arguments,
                           sizeof arguments);
        },
        [&](const ObjectPath& path) {
          return path.must_follow() ? ::getxattr(path.c_str(), name.c_str(), buffer, size)
                                    : ::lgetxattr(path.c_str(), name.c_str(), buffer, size);
        });
  });
}

Result<std::vector<std::string>> list_object_xattrs(ObjectRef object) {
  Result<std::string> list = read_growing([&](char* buffer, std::size_t size) {
    return call_for(
        object, lacks_xattrat,
        [&](const TerminatedName& at) -> ssize_t {
          return ::syscall(kListxattrat, object.fd, at.c_str(), AT_SYMLINK_NOFOLLOW, buffer, size);
        },
        [&](const ObjectPath& path) {
          return path.must_follow() ? ::listxattr(path.c_str(), buffer, size)
                                    : ::llistxattr(path.c_str(), buffer, size);
        });
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
  const long failed = call_for(
      object, lacks_xattrat,
      [&](const TerminatedName& at) -> long {
        XattrArguments arguments{.value = reinterpret_cast<std::uintptr_t>(value.data()),
                                 .size = static_cast<std::uint32_t>(value.size()),
                                 .flags = static_cast<std::uint32_t>(flags)};
        return ::syscall(kSetxattrat, object.fd, at.c_str(), AT_SYMLINK_NOFOLLOW, name.c_str(), &arguments,
                         sizeof arguments);
      },
      [&](const ObjectPath& path) -> long {
        return path.must_follow()
                   ? ::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags)
                   : ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags);
      });
  if (failed != 0) return Errno::last();
  return {};
}

Status remove_object_xattr(ObjectRef object, const std::string& name) {
  const long failed = call_for(
      object, lacks_xattrat,
      [&](const TerminatedName& at) -> long {
        return ::syscall(kRemovexattrat, object.fd, at.c_str(), AT_SYMLINK_NOFOLLOW, name.c_str());
      },
      [&](const ObjectPath& path) -> long {
        return path.must_follow() ? ::removexattr(path.c_str(), name.c_str())
                                  : ::lremovexattr(path.c_str(), name.c_str());
      });
  if (failed != 0) return Errno::last();
  return {};
}

Status change_object_mode(ObjectRef object, std::uint32_t permissions) {
  static std::atomic<bool> lacks_fchmodat2{false};
  const auto mode = static_cast<mode_t>(permissions & 07777);
  const long failed = call_for(
      object, lacks_fchmodat2,
      [&](const TerminatedName& at) -> long {
        return ::syscall(kFchmodat2, object.fd, at.c_str(), mode, AT_SYMLINK_NOFOLLOW);
      },
      [&](const ObjectPath&) -> long {
        // chmod(2) of a name would follow a symbolic link; through an O_PATH descriptor it cannot (EOPNOTSUPP for a link).
        const Result<UniqueFd> fd = open_object(object, O_PATH);
        return fd.ok() ? ::chmod(ObjectPath({fd->get(), {}}).c_str(), mode) : -1;
      });
  if (failed != 0) return Errno::last();
  return {};
}

Status change_object_times(ObjectRef object, const struct timespec (&times)[2]) {
  const int failed = object.name.empty() ? ::utimensat(AT_FDCWD, ObjectPath(object).c_str(), times, 0)
                                         : ::utimensat(object.fd, TerminatedName(object.name).c_str(), times,
                                                       AT_SYMLINK_NOFOLLOW);
  if (failed != 0) return Errno::last();
  return {};
}

bool is_disk_fault(Errno error) {
  return error.value == EIO || error.value == ENOSPC || error.value == EDQUOT || error.value == ENOMEM ||
         error.value == EROFS;
}

bool is_out_of_space(Errno error) {
  return error.value == ENOSPC || error.value == EDQUOT;
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
