#include "launcher/kernel/mount_calls.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

namespace varve::launcher {
namespace {

Result<UniqueFd> fd_or_errno(int fd) {
  if (fd < 0) return Errno::last();
  return UniqueFd(fd);
}

}  // namespace

Result<UniqueFd> copy_mount(const std::string& path) {
  return fd_or_errno(::open_tree(AT_FDCWD, path.c_str(),
                                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_RECURSIVE)));
}

Result<UniqueFd> copy_mount_of(int fd, bool recursive) {
  const unsigned below = recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U;
  return fd_or_errno(::open_tree(
      fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | static_cast<unsigned>(AT_EMPTY_PATH) | below));
}

Result<UniqueFd> new_mount(const NewFileSystem& spec) {
  VARVE_ASSIGN(UniqueFd context, fd_or_errno(::fsopen(spec.type, FSOPEN_CLOEXEC)));
  for (const auto& [key, value] : spec.parameters) {
    const int failed = value.empty() ? ::fsconfig(context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0)
                                     : ::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0);
    if (failed != 0) return Errno::last();
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Errno::last();
  return fd_or_errno(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(spec.attributes)));
}

Status attach_mount(int mount_fd, int target_fd) {
  if (::move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return Errno::last();
  }
  return {};
}

Status add_mount_attributes(int mount_fd, std::uint64_t attributes, bool recursive) {
  struct mount_attr change = {};
  change.attr_set = attributes;
  const unsigned flags =
      static_cast<unsigned>(AT_EMPTY_PATH) | (recursive ? static_cast<unsigned>(AT_RECURSIVE) : 0U);
  if (::mount_setattr(mount_fd, "", flags, &change, sizeof change) != 0) return Errno::last();
  return {};
}

Result<UniqueFd> open_beneath(int root_fd, const std::string& path, int flags) {
  struct open_how how = {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, root_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename or mount elsewhere raced with a ".." of the path (openat2(2)).
    if (errno != EINTR && errno != EAGAIN) return Errno::last();
  }
}

Result<UniqueFd> make_directory_beneath(int root_fd, const std::string& path) {
  Result<UniqueFd> found = open_beneath(root_fd, path, O_PATH | O_DIRECTORY);
  if (found.ok() || found.error().value != ENOENT) return found;
  const std::size_t slash = path.find_last_not_of('/') == std::string::npos
                                ? std::string::npos
                                : path.rfind('/', path.find_last_not_of('/'));
  const std::string parent_path = slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (parent_path == path || name.empty()) return Errno{ENOENT};
  VARVE_ASSIGN(const UniqueFd parent, make_directory_beneath(root_fd, parent_path));
  // EEXIST here is a symbolic link that leads nowhere; opening it says ENOENT again.
  if (::mkdirat(parent.get(), name.c_str(), 0755) != 0 && errno != EEXIST) return Errno::last();
  return open_beneath(root_fd, path, O_PATH | O_DIRECTORY);
}

Result<UniqueFd> make_file_beneath(int root_fd, const std::string& path) {
  Result<UniqueFd> found = open_beneath(root_fd, path, O_PATH);
  if (found.ok() || found.error().value != ENOENT) return found;
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return Errno{ENOENT};
  const std::string parent_path = slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
  VARVE_ASSIGN(const UniqueFd parent, make_directory_beneath(root_fd, parent_path));
  const UniqueFd made(
      ::openat(parent.get(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
  // EEXIST here is a symbolic link that leads nowhere; opening it says ENOENT again.
  if (!made.valid() && errno != EEXIST) return Errno::last();
  return open_beneath(root_fd, path, O_PATH);
}

Result<UniqueFd> make_file_in(int directory_fd, const std::string& name) {
  const UniqueFd made(
      ::openat(directory_fd, name.c_str(), O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!made.valid()) return Errno::last();
  return fd_or_errno(::openat(directory_fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

bool is_on_file_system(int fd, std::uint64_t magic) {
  struct statfs about = {};
  return ::fstatfs(fd, &about) == 0 && static_cast<std::uint64_t>(about.f_type) == magic;
}

}  // namespace varve::launcher
