#pragma once

// ProcessIdentity: a process of the host that can be found again later, by its number and by when it began: a number alone may
// meanwhile be another's. Thread rule: stateless.

#include <sys/types.h>

#include <cstdint>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t started_ticks = 0;  // proc_pid_stat(5), starttime
};

// Of a process that lives or is not yet waited for. Returns: ESRCH.
Result<ProcessIdentity> identify_process(pid_t pid);

// A pidfd of exactly that process. Returns: ESRCH when it has ended, whoever has its number now.
Result<UniqueFd> open_identified(const ProcessIdentity& identity);

}  // namespace varve::launcher
