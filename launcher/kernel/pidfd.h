#pragma once

// pidfd: processes by descriptor, which cannot come to mean another process (pidfd_open(2), pidfd_send_signal(2)).
// By number, because glibc 2.36 declares its wrappers without C linkage. Thread rule: stateless.

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

// Requires: `pid` is a child not yet waited for, or what is opened is looked at again (process_identity.h).
inline Result<UniqueFd> open_process(pid_t pid) {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) return Errno::last();
  return UniqueFd(static_cast<int>(fd));
}

// Returns: ESRCH when the process has ended.
inline Status send_signal(int process_fd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, process_fd, signal, nullptr, 0) != 0) return Errno::last();
  return {};
}

}  // namespace varve::launcher
