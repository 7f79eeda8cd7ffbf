#include "fs/upper/trial.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fs/base/unique_fd.h"
#include "fs/format/override_stat.h"
#include "fs/upper/object_path.h"
#include "fs/upper/stage.h"
#include "fs/upper/whiteout.h"

namespace varve::upper {
namespace {

constexpr const char* kObject = "probe";
constexpr const char* kWhiteout = "probe-whiteout";
constexpr const char* kInUpper = ".varve-probe-of-renames";

// An id that no user namespace but the initial one is likely to map.
constexpr uid_t kUnlikelyId = 0xFFFFFFFE - 1;

// The result of a system call as an answer. What it answers is written down for ever, so a disk that fails is none.
Result<bool> succeeded(int result) {
  if (result == 0) return true;
  if (is_disk_fault(Errno::last())) return Errno::last();
  return false;
}

// Two directories of one mount of a file system that has had all kinds of renames, and whiteouts, for longer than a mount has had
// an id to ask for (Linux 5.8); and no flag of the upper (ioctl_iflags(2)) that would refuse one.
bool surely_renames(int scratch, int upper) {
  constexpr std::array<decltype(statfs::f_type), 4> kKnown = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,
                                                              BTRFS_SUPER_MAGIC, TMPFS_MAGIC};
  struct statfs status {};
  if (::fstatfs(upper, &status) != 0) return false;
  if (std::find(kKnown.begin(), kKnown.end(), status.f_type) == kKnown.end()) return false;
  struct statx one {};
  struct statx other {};
  if (::statx(scratch, "", AT_EMPTY_PATH, STATX_MNT_ID, &one) != 0 ||
      ::statx(upper, "", AT_EMPTY_PATH, STATX_MNT_ID, &other) != 0)
    return false;
  if ((one.stx_mask & other.stx_mask & STATX_MNT_ID) == 0 || one.stx_mnt_id != other.stx_mnt_id) return false;
  int flags = 0;
  return ::ioctl(upper, FS_IOC_GETFLAGS, &flags) == 0 && (flags & (FS_APPEND_FL | FS_PROJINHERIT_FL)) == 0;
}

}  // namespace

Trial::~Trial() {
  // Best effort: the next mount does it again.
  if (made_object_) static_cast<void>(remove_tree(place_.scratch, kObject).ok());
  if (made_whiteout_) static_cast<void>(remove_tree(place_.scratch, kWhiteout).ok());
}

Status Trial::make_file() {
  const UniqueFd file(
      ::openat(place_.scratch, kObject, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0777));
  return file.valid() ? Status() : Status(Errno::last());
}

Status Trial::begin(bool for_overrides) {
  if (!place_.is_new) {
    for (const char* name : {kObject, kWhiteout}) {
      static_cast<void>(remove_tree(place_.scratch, name).ok());  // what a kill left
    }
  }
  if (for_overrides) {
    VARVE_ASSIGN(is_device_, succeeded(::mknodat(place_.scratch, kObject, S_IFCHR | 0777, makedev(1, 3))));
  }
  if (!is_device_) VARVE_RETURN_IF_ERROR(make_file());
  made_object_ = true;
  VARVE_ASSIGN(const struct stat status, stat_object({place_.scratch, kObject}));
  mode_arrived_ = (status.st_mode & 0777) == 0777;
  return {};
}

Status Trial::clear_leftovers() {
  const ObjectRef published{place_.upper, kInUpper};
  const Result<struct stat> left = stat_object(published);
  if (!left.ok()) return {};
  VARVE_ASSIGN(const bool whiteout, is_whiteout(place_.marks, published, *left));
  if (!whiteout) return Errno{EEXIST};
  return ::unlinkat(place_.upper, kInUpper, 0) == 0 ? Status() : Status(Errno::last());
}

Status Trial::try_renames() {
  const ObjectRef staged{place_.scratch, kWhiteout};
  const ObjectRef published{place_.upper, kInUpper};
  VARVE_RETURN_IF_ERROR(clear_leftovers());
  // Who may make a device may make a whiteout, where the file system knows them.
  if (is_device_ && surely_renames(place_.scratch, place_.upper)) return {};
  VARVE_RETURN_IF_ERROR(make_whiteout(staged));
  made_whiteout_ = true;
  VARVE_RETURN_IF_ERROR(rename_object(staged, published, ReplaceMode::kNoReplace));
  if (const Status back = rename_object(published, staged, ReplaceMode::kNoReplace); !back.ok()) {
    ::unlinkat(place_.upper, kInUpper, 0);
    return back;
  }
  return rename_object(staged, {place_.scratch, kObject}, ReplaceMode::kExchange);
}

Result<OverrideUse> Trial::choose_overrides() {
  VARVE_ASSIGN(const bool chowns,
               succeeded(::fchownat(place_.scratch, kObject, kUnlikelyId, kUnlikelyId, AT_SYMLINK_NOFOLLOW)));
  if (chowns && is_device_) return OverrideUse::kNever;
  if (is_device_) {
    VARVE_RETURN_IF_ERROR(remove_tree(place_.scratch, kObject));
    VARVE_RETURN_IF_ERROR(make_file());
  }
  VARVE_RETURN_IF_ERROR(set_object_xattr({place_.scratch, kObject}, format::kOverrideXattr, "0:0:0777"));
  return OverrideUse::kWhereNeeded;
}

}  // namespace varve::upper
