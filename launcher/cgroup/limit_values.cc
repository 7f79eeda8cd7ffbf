#include "launcher/cgroup/limit_values.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr std::string_view kUnits = "bkmgtp";  // each 1024 times the one before
constexpr double kMostBytes = 9.2e18;          // below INT64_MAX, which kernel files take

std::string reading(std::string_view option) {
  return fmt::format("reading {}", option);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Digits with at most one point among them: what from_chars would also take (inf, nan, 1e9, signs) is none.
bool is_plain_decimal(std::string_view text) {
  std::size_t digits = 0;
  std::size_t points = 0;
  for (const char c : text) {
    if (is_digit(c)) {
      ++digits;
    } else if (c == '.') {
      ++points;
    } else {
      return false;
    }
  }
  return digits > 0 && points <= 1;
}

// Requires: is_plain_decimal(text).
double decimal(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  return value;
}

// The power of 1024 that a suffix stands for; -1 for one that is none.
int unit_power(std::string_view suffix) {
  if (suffix.empty()) return 0;
  const std::size_t power = kUnits.find(lower(suffix[0]));
  if (power == std::string_view::npos) return -1;
  suffix.remove_prefix(1);
  const bool is_known =
      suffix.empty() || (power > 0 && suffix.size() == 1 && lower(suffix[0]) == 'b') ||
      (power > 0 && suffix.size() == 2 && lower(suffix[0]) == 'i' && lower(suffix[1]) == 'b');
  return is_known ? static_cast<int>(power) : -1;
}

}  // namespace

ResultOrFailure<std::uint64_t> parse_size(std::string_view option, std::string_view text) {
  const std::size_t end = text.find_first_not_of("0123456789.");
  const std::string_view digits = text.substr(0, end);
  std::string_view suffix = end == std::string_view::npos ? std::string_view() : text.substr(end);
  if (!suffix.empty() && suffix[0] == ' ') suffix.remove_prefix(1);
  const int power = unit_power(suffix);
  if (!is_plain_decimal(digits) || power < 0) {
    return refuse(reading(option), text, "this is no size", "write a number and b, k, m or g, as 512m");
  }
  if (digits.find('.') == std::string_view::npos) {
    std::uint64_t number = 0;
    const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    const std::uint64_t most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (error == std::errc() && number <= most >> (10 * power)) return number << (10 * power);
    return refuse(reading(option), text, "this is more than any machine has");
  }
  const double bytes = std::ldexp(decimal(digits), 10 * power);
  if (bytes > kMostBytes) return refuse(reading(option), text, "this is more than any machine has");
  return static_cast<std::uint64_t>(bytes);
}

ResultOrFailure<std::int64_t> parse_number(std::string_view option, std::string_view text,
                                           std::pair<std::int64_t, std::int64_t> range) {
  std::int64_t number = 0;
  const auto [last, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && last == text.data() + text.size();
  if (!is_number || number < range.first || number > range.second) {
    return refuse(reading(option), text,
                  fmt::format("this is no whole number from {} to {}", range.first, range.second));
  }
  return number;
}

ResultOrFailure<std::uint64_t> parse_cpus(std::string_view option, std::string_view text) {
  constexpr double kLeastUs = 1000;
  constexpr double kMostProcessors = 1'000'000;
  if (!is_plain_decimal(text)) {
    return refuse(reading(option), text, "this is no number of processors", "write it as 0.5 or 2");
  }
  const double processors = decimal(text);
  if (processors == 0) return std::uint64_t{0};
  constexpr double kHalf = 0.5;  // to the nearest
  const double quota_us = processors * static_cast<double>(kCpuPeriodUs) + kHalf;
  if (quota_us < kLeastUs || processors > kMostProcessors) {
    return refuse(reading(option), text, "the kernel takes nothing below 0.01, and no machine has a million");
  }
  return static_cast<std::uint64_t>(quota_us);
}

ResultOrFailure<std::string> parse_cpu_list(std::string_view option, std::string_view text) {
  const Failure wrong =
      refuse(reading(option), text, "this is no list of numbers and ranges", "write it as 0-3,5");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view range = text.substr(begin, end - begin);
    const std::size_t dash = range.find('-');
    constexpr std::pair<std::int64_t, std::int64_t> kAny = {0, 1 << 20};
    const auto first = parse_number(option, range.substr(0, dash), kAny);
    const auto last =
        dash == std::string_view::npos ? first : parse_number(option, range.substr(dash + 1), kAny);
    if (!first.ok() || !last.ok() || *last < *first) return wrong;
    begin = end + 1;
  }
  return std::string(text);
}

ResultOrFailure<DeviceRate> split_device_rate(std::string_view option, std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) {
    return refuse(reading(option), text, "this is no PATH:RATE", "write it as /dev/sda:1m");
  }
  return DeviceRate{std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 5> kNames = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t power = 0;
  while (power + 1 < kNames.size() && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++power;
  }
  return fmt::format("{} {}", bytes, kNames.at(power));
}

}  // namespace varve::launcher
