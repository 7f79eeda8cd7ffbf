#pragma once

// logs: what a detached container has said. Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>

#include "fs/base/result.h"

namespace varve::launcher {

struct LogsOptions {
  std::string store;
  std::string name;
  bool follow = false;  // go on until the container ends
  bool timestamps = false;
  std::optional<std::uint64_t> tail;  // only so many of the last lines
};

// Writes to standard output and standard error what the container wrote to its own.
StatusOrFailure show_logs(const LogsOptions& options);

}  // namespace varve::launcher
