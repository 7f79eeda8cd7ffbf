#pragma once

// The kernel's calls on mounts by file descriptor, and paths that cannot leave a root. Images are hostile: any component
// of a path inside one may be a symbolic link to anywhere, so nothing inside an image is ever named by a plain path.
// Thread rule: stateless, but they act on the mount namespace of the calling process.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

// A copy of the mount at `path` (of the process's own root), not yet attached anywhere: open_tree(2). Recursive, with
// all that is mounted below, because the kernel refuses to copy a mount without those below it that a more privileged
// namespace put there (mount_namespaces(7)).
Result<UniqueFd> copy_mount(const std::string& path);
// The same of what `fd` refers to; only that one mount.
Result<UniqueFd> copy_mount_of(int fd);

struct NewFileSystem {
  const char* type;  // as in mount(8)
  // Each "key", "value"; an empty value is a flag.
  std::vector<std::pair<const char*, std::string>> parameters = {};
  std::uint64_t attributes = 0;  // MOUNT_ATTR_...
};
// A new file system, not yet attached: fsopen(2), fsconfig(2), fsmount(2).
Result<UniqueFd> new_mount(const NewFileSystem& spec);

// Attaches an unattached mount on top of what `target_fd` refers to: move_mount(2). `mount_fd` stays open and refers to
// the root of the attached mount.
Status attach_mount(int mount_fd, int target_fd);

// Adds MOUNT_ATTR_... to a mount, and to all below it when `recursive`: mount_setattr(2).
Status add_mount_attributes(int mount_fd, std::uint64_t attributes, bool recursive);

// openat2(2) of `path` below `root_fd` with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: symbolic links and ".." are taken
// as they would be after a chroot to `root_fd`. O_CLOEXEC is added to `flags`. Returns: ENOENT and so on.
Result<UniqueFd> open_beneath(int root_fd, const std::string& path, int flags);

// An O_PATH descriptor of the directory `path` below `root_fd`, which is made (0755) with its parents when it does not
// exist. Returns: ENOTDIR when something else stands there, EROFS, ...
Result<UniqueFd> make_directory_beneath(int root_fd, const std::string& path);

// The target for a mount of a single file in a directory that is ours: made empty (0644) when it does not exist.
Result<UniqueFd> make_file_in(int directory_fd, const std::string& name);

// True when `fd` lies on a file system with this f_type (statfs(2), linux/magic.h).
bool is_on_file_system(int fd, std::uint64_t magic);

}  // namespace varve::launcher
