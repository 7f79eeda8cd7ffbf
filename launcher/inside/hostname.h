#pragma once

// hostname: the container's name of itself, in its own uts namespace. Thread rule: one thread.

#include <string>

#include "fs/base/result.h"

namespace varve::launcher {

// Requires: an own uts namespace; else the host's name would change.
StatusOrFailure set_hostname(const std::string& hostname);

}  // namespace varve::launcher
