#pragma once

// pid_init: process 1 of the container. It reaps every process that comes to it, hands every signal it gets to the
// command, and ends when the command ends; the kernel then ends all others (pid_namespaces(7)). Being a real process 1 it
// spares the command the odd rules of that number: a signal without a handler is not ignored.
// Thread rule: one thread.

#include <sys/types.h>

namespace varve::launcher {

// Blocks the signals that are to be forwarded or waited for: all but those that tell of a fault in the process itself.
// Called before the fork, so that none is lost.
void block_forwarded_signals();
// The opposite for a program about to be started: nothing blocked, every signal at its default.
void restore_default_signals();

// Serves until the process `command`, a child, has ended. Requires: block_forwarded_signals() before the fork.
// Returns: its exit status, or 128 + n when signal n killed it.
int run_init(pid_t command);

// Without an own pid namespace the kernel ends nobody: the init becomes the reaper of its descendants first, and kills
// those that are left afterwards.
void become_subreaper();
void kill_remaining_children();
// And those that `varve exec` has put into the container, which are nobody's descendants here: all that live in the mount namespace
// of the calling process. Requires: an own one; a /proc of the pid namespace.
void kill_rest_of_mount_namespace();

// 128 + n for signal n, the exit status otherwise; `wait_status` as waitpid(2) gives it.
int exit_status_of(int wait_status);

}  // namespace varve::launcher
