#pragma once

// exec: a further command in a container that runs: it joins all its namespaces, and has the environment, user, capabilities and
// limits that the container's own command was started with. Thread rule: the calling process has one thread.

#include "launcher/environment.h"
#include "launcher/execute.h"
#include "launcher/options/exec_options.h"
#include "launcher/process_title.h"

namespace varve::launcher {

// Returns: the command's end, or with -d its start; the launcher's own failures as `varve run` has them.
Outcome exec_in_container(const ExecOptions& options, const HostVariable& host, ArgumentArea area);

}  // namespace varve::launcher
