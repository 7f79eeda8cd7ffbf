#pragma once

// LifetimePlan: how long a container lives, how it ends, and what is kept of what it says. Plain values.

#include <cstdint>
#include <string>

#include "fs/base/result.h"
#include "imagetool/image/store/image_config.h"
#include "launcher/options/lifetime_options.h"

namespace varve::launcher {

struct LogLimits {
  std::uint64_t max_bytes = 10 << 20;  // of one file
  unsigned max_files = 3;              // at least one
};

struct LifetimePlan {
  bool detached = false;
  LogLimits log;                      // of a detached one
  std::uint64_t timeout_seconds = 0;  // killed after that; 0: never
  std::string stop_signal;  // what `varve stop` sends, as typed or as the image has it; empty: SIGTERM
  std::uint64_t stop_seconds = 10;  // how long that waits before it kills
};

// Returns: a Failure for a signal or a log option that is none.
ResultOrFailure<LifetimePlan> plan_lifetime(const LifetimeOptions& options, const image::ImageConfig& config);

// Lines for --dry-run.
std::string to_text(const LifetimePlan& plan);

}  // namespace varve::launcher
