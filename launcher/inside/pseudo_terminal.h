#pragma once

// pseudo_terminal: a terminal of the container's own (pty(7), devpts), so that its programs find it under /dev/pts and
// nothing of the host's terminal is in their hands. Thread rule: one thread.

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::launcher {

struct PseudoTerminal {
  UniqueFd master;  // for the launcher, outside
  UniqueFd slave;   // the command's stdin, stdout and stderr
};

// Makes one in the mounted devpts `terminals_fd` and binds it over /dev/console of `dev_fd`.
ResultOrFailure<PseudoTerminal> make_terminal(int terminals_fd, int dev_fd);
// The same of the devpts of a container that runs, whose namespaces this process has joined; not over /dev/console.
ResultOrFailure<PseudoTerminal> make_joined_terminal();
// The same of the host's /dev/ptmx, for a container that shares the mount namespace.
ResultOrFailure<PseudoTerminal> make_host_terminal();

}  // namespace varve::launcher
