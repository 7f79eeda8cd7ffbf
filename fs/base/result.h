#pragma once

// Result<T, E>: a value or the reason why there is none. The error types of the project:
//   Errno        run time; what a system call or a request is answered with
//   Failure      start-up, imagetool, launcher: an errno and a sentence for a person
//   (FormatError lives in fs/format/format_error.h)
// Thread rule: plain values; no sharing.

#include <cerrno>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "fs/base/check.h"

namespace varve {

// An errno value; never 0.
struct [[nodiscard]] Errno {
  int value;

  // The calling thread's current errno. EIO when it is 0, so that an error can never look like success.
  static Errno last() { return Errno{errno != 0 ? errno : EIO}; }
  friend bool operator==(const Errno&, const Errno&) = default;
};

// What was being done, to what, why it failed and what to do about it.
struct [[nodiscard]] Failure {
  int error_number = EIO;
  std::string message;
};

// "MESSAGE: STRERROR" as a Failure.
inline Failure failure_from(Errno error, const std::string& message) {
  return Failure{error.value, message + ": " + std::strerror(error.value)};
}

template <class T, class E = Errno>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(E error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Requires: ok().
  T& value() & {
    VARVE_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    VARVE_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    VARVE_CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // Requires: !ok().
  const E& error() const& {
    VARVE_CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  E&& error() && {
    VARVE_CHECK(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  Result(E error) : error_(std::move(error)), failed_(true) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !failed_; }
  explicit operator bool() const { return ok(); }
  const E& error() const& {
    VARVE_CHECK(failed_);
    return error_;
  }
  E&& error() && {
    VARVE_CHECK(failed_);
    return std::move(error_);
  }

 private:
  E error_{};
  bool failed_ = false;
};

using Status = Result<void, Errno>;
template <class T>
using ResultOrFailure = Result<T, Failure>;
using StatusOrFailure = Result<void, Failure>;

// The errno of a status: 0 when it is good.
inline int error_number(const Status& status) {
  return status.ok() ? 0 : status.error().value;
}

}  // namespace varve

#define VARVE_CONCAT_INNER(a, b) a##b
#define VARVE_CONCAT(a, b) VARVE_CONCAT_INNER(a, b)

// VARVE_ASSIGN(auto x, expression); returns the expression's error from the enclosing function, or binds its value.
#define VARVE_ASSIGN(declaration, expression) \
  VARVE_ASSIGN_IMPL(VARVE_CONCAT(varve_result_, __LINE__), declaration, expression)
#define VARVE_ASSIGN_IMPL(result, declaration, expression) \
  auto result = (expression);                              \
  if (!result.ok()) return std::move(result).error();      \
  declaration = std::move(result).value()

// Returns the expression's error from the enclosing function when it has one.
#define VARVE_RETURN_IF_ERROR(expression)                           \
  do {                                                              \
    auto varve_status = (expression);                               \
    if (!varve_status.ok()) return std::move(varve_status).error(); \
  } while (false)
