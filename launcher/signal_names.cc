#include "launcher/signal_names.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

std::optional<int> parse_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "RTMIN", "RTMIN+3", "RTMAX-2".
std::optional<int> parse_real_time(std::string_view name) {
  const bool from_least = name.starts_with("RTMIN");
  if (!from_least && !name.starts_with("RTMAX")) return std::nullopt;
  const std::string_view rest = name.substr(5);
  const int base = from_least ? SIGRTMIN : SIGRTMAX;
  if (rest.empty()) return base;
  const std::optional<int> distance = parse_number(rest.substr(1));
  if (rest[0] != (from_least ? '+' : '-') || !distance) return std::nullopt;
  return from_least ? base + *distance : base - *distance;
}

std::optional<int> find_name(std::string_view name) {
  for (int signal = 1; signal < NSIG; ++signal) {
    const char* known = ::sigabbrev_np(signal);
    if (known != nullptr && name == known) return signal;
  }
  return parse_real_time(name);
}

}  // namespace

ResultOrFailure<int> parse_signal(std::string_view text) {
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  if (name.starts_with("SIG")) name.erase(0, 3);
  std::optional<int> signal = parse_number(name);
  if (!signal) signal = find_name(name);
  if (!signal || *signal < 1 || *signal > SIGRTMAX) {
    return refuse("choosing a signal", text, "there is no such signal", "see signal(7): TERM, SIGTERM or 15");
  }
  return *signal;
}

}  // namespace varve::launcher
