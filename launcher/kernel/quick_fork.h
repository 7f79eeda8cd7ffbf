#pragma once

// quick_fork(): a child that is about to execute another program, without the copy of the memory map that fork(2) makes: it shares
// the caller's memory, and the caller stands still, until it has executed or exited (CLONE_VM and CLONE_VFORK, clone(2)). Descriptors,
// ids and signals are its own. Thread rule: the calling process has one thread.

#include <sys/types.h>

#include "fs/base/result.h"

namespace varve::launcher {

// `work` runs in the child, on a stack of its own, and must end by execve(2) or _exit(2). What it changes in memory the caller finds
// changed: it must not move from or destroy what the caller still needs.
// Returns: in the caller, the child's number.
Result<pid_t> quick_fork(void (*work)(void*), void* argument);

template <class Work>
Result<pid_t> quick_fork(Work& work) {
  return quick_fork([](void* object) { (*static_cast<Work*>(object))(); }, &work);
}

}  // namespace varve::launcher
