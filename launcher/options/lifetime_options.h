#pragma once

// LifetimeOptions: -d, --timeout, --stop-signal, --stop-timeout, --log-opt as typed. A plain value.

#include <cstdint>
#include <string>
#include <vector>

namespace varve::launcher {

class OptionList;

struct LifetimeOptions {
  bool detached = false;
  std::uint64_t timeout_seconds = 0;
  std::string stop_signal;
  std::uint64_t stop_seconds = 10;
  std::vector<std::string> log_options;  // NAME=VALUE
};

// Makes `app` understand them. `options` outlives it.
void declare_lifetime_options(OptionList& list, LifetimeOptions& options);

}  // namespace varve::launcher
