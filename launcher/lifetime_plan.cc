#include "launcher/lifetime_plan.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "launcher/explain.h"
#include "launcher/signal_names.h"

namespace varve::launcher {
namespace {

// A number with k, m, g or nothing behind it, as podman-run(1) has it for sizes. Empty: it is none.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  unsigned shift = 0;
  if (unit == "k") shift = 10;
  if (unit == "m") shift = 20;
  if (unit == "g") shift = 30;
  if ((!unit.empty() && unit != "b" && shift == 0) || number == 0 || number > (std::uint64_t{1} << 33))
    return std::nullopt;
  return number << shift;
}

StatusOrFailure apply_log_option(const std::string& option, LogLimits& limits) {
  const std::size_t equals = option.find('=');
  const std::string key = option.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : option.substr(equals + 1);
  const std::optional<std::uint64_t> size = parse_size(value);
  constexpr unsigned kMostFiles = 1000;
  if (key == "max-size" && size) {
    limits.max_bytes = *size;
  } else if (key == "max-file" && size && *size <= kMostFiles) {
    limits.max_files = static_cast<unsigned>(*size);
  } else {
    return refuse("reading --log-opt", option, "this is no max-size=SIZE or max-file=COUNT",
                  "e.g. max-size=10m");
  }
  return {};
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
