#pragma once

// pause and unpause: all processes of a container stand still, and go on. Thread rule: stateless.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct PauseOptions {
  std::string store;
  std::vector<std::string> names;
};
struct UnpauseOptions {
  std::string store;
  std::vector<std::string> names;
};
// By the freezer of their control groups, which none of the processes notices. One that stands still already, or runs already, is
// no failure. Returns: a Failure for the first that does not run or has no group that can be frozen; the others are done.
StatusOrFailure pause_containers(const PauseOptions& options);
StatusOrFailure unpause_containers(const UnpauseOptions& options);

}  // namespace varve::launcher
