#pragma once

// detach: what goes on without the command that started it, in a process and a session of its own: the monitor.
// Thread rule: the calling process has one thread.

#include <functional>
#include <string>

#include "launcher/execute.h"

namespace varve::launcher {

struct DetachedWork {
  std::string name;      // of the container, for messages
  std::string log_path;  // takes what the monitor has to say once it has started; empty: /dev/null
};

// Runs `work` in a monitor, to which it gives the function to call once it has started.
// Returns: in the calling process, then (exit status 0), or when it could not be started. The monitor never returns.
Outcome go_on_detached(const std::function<Outcome(const std::function<bool()>& on_started)>& work,
                       const DetachedWork& about);

}  // namespace varve::launcher
