#include "launcher/lifetime_plan.h"

#include <fmt/format.h>

#include <charconv>

#include "launcher/cgroup/limit_values.h"
#include "launcher/explain.h"
#include "launcher/signal_names.h"

namespace varve::launcher {
namespace {

StatusOrFailure apply_log_option(const std::string& option, LogLimits& limits) {
  const std::size_t equals = option.find('=');
  const std::string key = option.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
  constexpr unsigned kMostFiles = 1000;
  if (key == "max-size") {
    VARVE_ASSIGN(limits.max_bytes, parse_size("--log-opt max-size", value));
    if (limits.max_bytes > 0) return {};
  } else if (key == "max-file") {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), limits.max_files);
    const bool is_number = error == std::errc() && end == value.data() + value.size();
    if (is_number && limits.max_files > 0 && limits.max_files <= kMostFiles) return {};
  }
  return refuse("reading --log-opt", option, "this is no max-size=SIZE or max-file=COUNT",
                "e.g. max-size=10m");
}

}  // namespace

ResultOrFailure<LifetimePlan> plan_lifetime(const LifetimeOptions& options,
                                            const image::ImageConfig& config) {
  LifetimePlan plan;
  plan.detached = options.detached;
  plan.timeout_seconds = options.timeout_seconds;
  plan.stop_seconds = options.stop_seconds;
  plan.stop_signal = options.stop_signal.empty() ? config.stop_signal : options.stop_signal;
  if (!plan.stop_signal.empty()) VARVE_RETURN_IF_ERROR(parse_signal(plan.stop_signal));
  if (!options.log_options.empty() && !options.detached) {
    return refuse("reading --log-opt", options.log_options[0],
                  "only the output of a detached container is kept", "add -d");
  }
  for (const std::string& option : options.log_options)
    VARVE_RETURN_IF_ERROR(apply_log_option(option, plan.log));
  return plan;
}

std::string to_text(const LifetimePlan& plan) {
  std::string text;
  if (plan.detached) {
    text += fmt::format("detached:     output kept, {} files of {} bytes\n", plan.log.max_files,
                        plan.log.max_bytes);
  }
  if (plan.timeout_seconds > 0)
    text += fmt::format("timeout:      killed after {} s\n", plan.timeout_seconds);
  return text + fmt::format("stop signal:  {}, killed {} s later\n",
                            plan.stop_signal.empty() ? "SIGTERM" : plan.stop_signal, plan.stop_seconds);
}

}  // namespace varve::launcher
