#pragma once

// stop and kill: signals for containers that run. Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

struct StopOptions {
  std::string store;
  std::vector<std::string> names;
  bool all = false;                      // that run
  std::optional<std::uint64_t> seconds;  // empty: what the container was started with
};
// Sends each its stop signal, to all at once, waits until they and their file systems have ended, and kills those that take too
// long. One that does not run is no failure. Returns: a Failure for the first that could not be stopped; the others are.
StatusOrFailure stop_containers(const StopOptions& options);

struct KillOptions {
  std::string store;
  std::vector<std::string> names;
  bool all = false;
  std::string signal = "KILL";
};
// Returns: a Failure for the first that does not run; the others get the signal.
StatusOrFailure kill_containers(const KillOptions& options);

// Kills one and waits until it and its file system have ended, up to a minute. Returns: EBUSY after that.
StatusOrFailure kill_and_wait(const std::string& store, const std::string& name);

}  // namespace varve::launcher
