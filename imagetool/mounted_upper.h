#pragma once

// From the mount point of a varvefs to the upper that it writes to. Nothing that a file system says of itself is believed, since
// anybody may mount one that calls itself varvefs: the kernel says what is mounted and by whom, and an upper is taken only from a
// process of our own user that has it locked and has noted this mount on it (fs/upper/mount_note.h).
// Thread rule: stateless; no call asks a FUSE file system anything, so none waits for one.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::imagetool {

// What the kernel says of the mount that a path lies in (proc_pid_mountinfo(5)).
struct MountAt {
  dev_t device = 0;
  std::string mount_point;
  std::string part;  // the directory of the file system that is mounted there; "/": all of it
  std::string type;  // "fuse.varvefs"
  bool read_only = false;
  std::optional<uid_t> user;    // of FUSE: who has mounted it
  bool is_mount_point = false;  // the path itself is
  bool is_varvefs() const { return type == "fuse.varvefs"; }
};
// Returns: ENOENT, EACCES and so on of the path; ENOTDIR when it is no directory.
ResultOrFailure<MountAt> mount_at(const std::string& path);

struct MountedUpper {
  std::string upper;
  std::string work;
  std::string image;  // digest, when it was mounted by an image; else empty
  // The layers below, bottom first, as the upper has them recorded; none with fsync=never, which records nothing.
  std::vector<std::string> base_stack;
};
// Requires: at.is_varvefs() and at.is_mount_point.
// Returns: EPERM for another user's mount, EINVAL for a part of one, ENOTSUP when there is no upper or it cannot be found.
ResultOrFailure<MountedUpper> upper_of_mount(const MountAt& at);

}  // namespace varve::imagetool
