// fault_points.so: preloaded into varvefs, it stands before the functions of libc through which fs/upper changes and looks at its
// directories, counts them while a test has it armed, and lets one fail or be the last (fault_control.h). It makes the system
// calls itself. No part of a program: built without sanitizers and without anything of the project but that header.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "tests/mounted/faults/fault_control.h"

namespace {

using varve::test::Call;
using varve::test::FaultControl;
using varve::test::FaultKind;

FaultControl* control = nullptr;

// libc's: ours stands before it.
long (*raw_call)(long number, ...) = nullptr;

__attribute__((constructor)) void find_control() {
  raw_call = reinterpret_cast<long (*)(long, ...)>(::dlsym(RTLD_NEXT, "syscall"));
  const char* path = ::getenv("VARVE_FAULT_CONTROL");
  if (path == nullptr) return;
  const auto fd = static_cast<int>(raw_call(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0));
  if (fd < 0) return;
  void* memory = ::mmap(nullptr, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory != MAP_FAILED) control = static_cast<FaultControl*>(memory);
}

[[noreturn]] void die() {
  for (;;) {
    raw_call(SYS_kill, raw_call(SYS_getpid), SIGKILL);
  }
}

void pause_at(std::uint32_t number) {
  const struct timespec step = {.tv_sec = 0, .tv_nsec = 100'000};
  control->paused_at = number;
  while (control->may_go < number && control->armed != 0) raw_call(SYS_nanosleep, &step, nullptr);
}

// Whether this very call is the one that is to be hit.
bool is_hit(Call call) {
  if (control == nullptr || control->armed.load() == 0) return false;
  if (!varve::test::changes(call) && !control->looks_count) return false;
  ++control->seen[static_cast<std::uint32_t>(call)];
  const std::uint32_t number = ++control->calls;
  if (control->kind == FaultKind::kPause) pause_at(number);
  if (number != control->at) return false;
  control->hit = 1 + static_cast<std::uint32_t>(call);
  return true;
}

template <class... Arguments>
long guarded(Call call, long number, Arguments... arguments) {
  const bool hit = is_hit(call);
  if (hit && control->kind == FaultKind::kKillBefore) die();
  if (hit && control->kind == FaultKind::kFail) {
    errno = control->error;
    return -1;
  }
  const long result = raw_call(number, arguments...);
  if (hit && control->kind == FaultKind::kKillAfter) die();
  return result;
}

bool makes(int flags) {
  return (flags & (O_CREAT | O_TRUNC)) != 0;
}

int open_guarded(int directory, const char* path, int flags, mode_t mode) {
  return static_cast<int>(
      guarded(makes(flags) ? Call::kCreate : Call::kOpen, SYS_openat, directory, path, flags, mode));
}

}  // namespace

#define VARVE_MODE_OF(flags, mode) \
  mode_t mode = 0;                 \
  if (makes(flags)) {              \
    va_list more;                  \
    va_start(more, flags);         \
    mode = va_arg(more, mode_t);   \
    va_end(more);                  \
  }

// The names with 64 are those that programs built for large files call.
extern "C" {

int open(const char* path, int flags, ...) {
  VARVE_MODE_OF(flags, mode)
  return open_guarded(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  VARVE_MODE_OF(flags, mode)
  return open_guarded(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  VARVE_MODE_OF(flags, mode)
  return open_guarded(directory, path, flags, mode);
}
int openat64(int directory, const char* path, int flags, ...) {
  VARVE_MODE_OF(flags, mode)
  return open_guarded(directory, path, flags, mode);
}
int mkdirat(int directory, const char* path, mode_t mode) {
  return static_cast<int>(guarded(Call::kMkdir, SYS_mkdirat, directory, path, mode));
}
int mknodat(int directory, const char* path, mode_t mode, dev_t device) {
  return static_cast<int>(guarded(Call::kMknod, SYS_mknodat, directory, path, mode, device));
}
int symlinkat(const char* target, int directory, const char* path) noexcept {
  return static_cast<int>(guarded(Call::kSymlink, SYS_symlinkat, target, directory, path));
}
int linkat(int from, const char* old_path, int to, const char* new_path, int flags) noexcept {
  return static_cast<int>(guarded(Call::kLink, SYS_linkat, from, old_path, to, new_path, flags));
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return static_cast<int>(guarded(Call::kUnlink, SYS_unlinkat, directory, path, flags));
}
int renameat(int from, const char* old_path, int to, const char* new_path) noexcept {
  return static_cast<int>(guarded(Call::kRename, SYS_renameat2, from, old_path, to, new_path, 0));
}
int renameat2(int from, const char* old_path, int to, const char* new_path, unsigned flags) noexcept {
  return static_cast<int>(guarded(Call::kRename2, SYS_renameat2, from, old_path, to, new_path, flags));
}
int chmod(const char* path, mode_t mode) noexcept {
  return static_cast<int>(guarded(Call::kChmod, SYS_fchmodat, AT_FDCWD, path, mode));
}
// The flags are a matter of glibc; varvefs gives none.
int fchmodat(int directory, const char* path, mode_t mode, int) noexcept {
  return static_cast<int>(guarded(Call::kChmodAt, SYS_fchmodat, directory, path, mode));
}
int fchownat(int directory, const char* path, uid_t uid, gid_t gid, int flags) noexcept {
  return static_cast<int>(guarded(Call::kChownAt, SYS_fchownat, directory, path, uid, gid, flags));
}
int utimensat(int directory, const char* path, const struct timespec times[2], int flags) noexcept {
  return static_cast<int>(guarded(Call::kTimes, SYS_utimensat, directory, path, times, flags));
}
int futimens(int fd, const struct timespec times[2]) noexcept {
  return static_cast<int>(guarded(Call::kTimes, SYS_utimensat, fd, nullptr, times, 0));
}
int setxattr(const char* path, const char* name, const void* value, size_t size, int flags) noexcept {
  return static_cast<int>(guarded(Call::kSetXattr, SYS_setxattr, path, name, value, size, flags));
}
int lsetxattr(const char* path, const char* name, const void* value, size_t size, int flags) noexcept {
  return static_cast<int>(guarded(Call::kSetXattr, SYS_lsetxattr, path, name, value, size, flags));
}
int removexattr(const char* path, const char* name) noexcept {
  return static_cast<int>(guarded(Call::kRemoveXattr, SYS_removexattr, path, name));
}
int lremovexattr(const char* path, const char* name) noexcept {
  return static_cast<int>(guarded(Call::kRemoveXattr, SYS_lremovexattr, path, name));
}
int ftruncate(int fd, off_t size) noexcept {
  return static_cast<int>(guarded(Call::kTruncate, SYS_ftruncate, fd, size));
}
int ftruncate64(int fd, off64_t size) noexcept {
  return static_cast<int>(guarded(Call::kTruncate, SYS_ftruncate, fd, size));
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return static_cast<int>(guarded(Call::kAllocate, SYS_fallocate, fd, mode, offset, size));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  return static_cast<int>(guarded(Call::kAllocate, SYS_fallocate, fd, mode, offset, size));
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return guarded(Call::kWrite, SYS_pwrite64, fd, bytes, size, offset);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  return guarded(Call::kWrite, SYS_pwrite64, fd, bytes, size, offset);
}
int fsync(int fd) {
  return static_cast<int>(guarded(Call::kSync, SYS_fsync, fd));
}
int fdatasync(int fd) {
  return static_cast<int>(guarded(Call::kSync, SYS_fdatasync, fd));
}
int syncfs(int fd) noexcept {
  return static_cast<int>(guarded(Call::kSync, SYS_syncfs, fd));
}

// --- imported by varvefs for other ends ---

int fchmod(int fd, mode_t mode) noexcept {
  return static_cast<int>(guarded(Call::kStranger, SYS_fchmod, fd, mode));
}
int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(guarded(Call::kStranger, SYS_mkdirat, AT_FDCWD, path, mode));
}
int rename(const char* old_path, const char* new_path) noexcept {
  return static_cast<int>(guarded(Call::kStranger, SYS_renameat2, AT_FDCWD, old_path, AT_FDCWD, new_path, 0));
}
int unlink(const char* path) noexcept {
  return static_cast<int>(guarded(Call::kStranger, SYS_unlinkat, AT_FDCWD, path, 0));
}

// --- looking ---

int fstatat64(int directory, const char* path, struct stat64* status, int flags) noexcept {
  return static_cast<int>(guarded(Call::kStat, SYS_newfstatat, directory, path, status, flags));
}
int fstatat(int directory, const char* path, struct stat* status, int flags) noexcept {
  return static_cast<int>(guarded(Call::kStat, SYS_newfstatat, directory, path, status, flags));
}
ssize_t getxattr(const char* path, const char* name, void* value, size_t size) noexcept {
  return guarded(Call::kGetXattr, SYS_getxattr, path, name, value, size);
}
ssize_t lgetxattr(const char* path, const char* name, void* value, size_t size) noexcept {
  return guarded(Call::kGetXattr, SYS_lgetxattr, path, name, value, size);
}
ssize_t listxattr(const char* path, char* list, size_t size) noexcept {
  return guarded(Call::kListXattr, SYS_listxattr, path, list, size);
}
ssize_t llistxattr(const char* path, char* list, size_t size) noexcept {
  return guarded(Call::kListXattr, SYS_llistxattr, path, list, size);
}

// --- calls that libc has no functions for yet (fs/upper/object_path.cc) ---

long syscall(long number, ...) noexcept {
  va_list more;
  va_start(more, number);
  long all[6];
  for (long& argument : all) argument = va_arg(more, long);
  va_end(more);
  const auto call = [&](Call kind) {
    return guarded(kind, number, all[0], all[1], all[2], all[3], all[4], all[5]);
  };
  switch (number) {
    case 452:
      return call(Call::kChmodAt);  // fchmodat2
    case 463:
      return call(Call::kSetXattr);  // setxattrat
    case 464:
      return call(Call::kGetXattr);  // getxattrat
    case 465:
      return call(Call::kListXattr);  // listxattrat
    case 466:
      return call(Call::kRemoveXattr);  // removexattrat
    default:
      return raw_call(number, all[0], all[1], all[2], all[3], all[4], all[5]);
  }
}

}  // extern "C"
