#pragma once

// Reading ahead of the container's program. Its first pages are mapped one after the other by execve(2), and each makes the daemon
// decompress a piece while everybody waits. Asked for early, they come while the rest of the container is set up.
// Thread rule: one thread, in the container's first process.

#include <sys/types.h>

#include "launcher/plan.h"

namespace varve::launcher {

// Begins to read the program of `process` in the root behind `root_fd`, without waiting for it.
// Returns: how many bytes are asked for; 0 when there is no such program, which starting it will tell.
off_t begin_reading_program(int root_fd, const ProcessPlan& process);

}  // namespace varve::launcher
