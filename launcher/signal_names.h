#pragma once

// Names of signals as people write them. Thread rule: stateless.

#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::launcher {

// "SIGTERM", "term", "15", "RTMIN+3", "SIGRTMAX-1" (signal(7)). Returns: a Failure for what is none; 0 is none either.
ResultOrFailure<int> parse_signal(std::string_view text);

}  // namespace varve::launcher
