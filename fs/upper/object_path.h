#pragma once

// Ways to reach an object of the upper that is known by an ObjectRef: a path for system calls that take no
// directory descriptor (xattrs), and descriptors. Symbolic links are never followed. Thread rule: pure
// functions and values.

#include <time.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/upper/upper_store.h"

struct stat;

namespace varve::upper {

// "/proc/self/fd/FD" or "/proc/self/fd/FD/NAME". The first is a link that the kernel takes straight to the
// object (a symbolic link included), so it must be followed; the second must not be.
class ObjectPath {
 public:
  explicit ObjectPath(ObjectRef object);
  const char* c_str() const { return path_.c_str(); }
  bool must_follow() const { return must_follow_; }

 private:
  std::string path_;
  bool must_follow_;
};

// Opens with `flags`, O_CLOEXEC and, for a name, O_NOFOLLOW added. Returns: the errno of open(2).
Result<UniqueFd> open_object(ObjectRef object, int flags);
// The same without moving the time of access; moves it where only the owner may ask for that (open(2), O_NOATIME).
Result<UniqueFd> open_object_noatime(ObjectRef object, int flags);
// lstat(2). Returns: ENOENT as there.
Result<struct stat> stat_object(ObjectRef object);

// --- xattrs as they are stored; list is in the kernel's order ---
Result<std::string> get_object_xattr(ObjectRef object, const std::string& name);
Result<std::vector<std::string>> list_object_xattrs(ObjectRef object);
Status set_object_xattr(ObjectRef object, const std::string& name, std::string_view value, int flags = 0);
Status remove_object_xattr(ObjectRef object, const std::string& name);

// chmod(2) with set-id bits and sticky bit. Returns: EOPNOTSUPP for a symbolic link.
Status change_object_mode(ObjectRef object, std::uint32_t permissions);
// utimensat(2), UTIME_NOW and UTIME_OMIT included.
Status change_object_times(ObjectRef object, const struct timespec (&times)[2]);

// A fault of the disk, or no room on it: it says nothing of what the file system can do.
bool is_disk_fault(Errno error);

// There is no room for what was asked for, by the disk or by a quota.
bool is_out_of_space(Errno error);

// --- directories ---
struct DirectoryEntry {
  std::string name;
  std::uint8_t type = 0;  // DT_*
  std::uint64_t inode_number = 0;
};
// All entries but "." and "..". Reads through a descriptor of its own.
Result<std::vector<DirectoryEntry>> read_directory(ObjectRef directory);

}  // namespace varve::upper
