#pragma once

// Arithmetic on decoded values: empty when it would overflow.

#include <concepts>
#include <optional>

namespace varve {

template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum{};
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T product{};
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// True when [offset, offset + length) lies within [0, limit).
template <std::unsigned_integral T>
constexpr bool range_within(T offset, T length, T limit) {
  const std::optional<T> end = checked_add(offset, length);
  return end.has_value() && *end <= limit;
}

// `value` rounded up to a multiple of `unit`; empty on overflow. Requires: unit != 0.
template <std::unsigned_integral T>
constexpr std::optional<T> checked_round_up(T value, T unit) {
  const std::optional<T> raised = checked_add<T>(value, unit - 1);
  if (!raised) return std::nullopt;
  return *raised / unit * unit;
}

}  // namespace varve
