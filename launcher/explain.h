#pragma once

// explain(): the one form in which the launcher tells a person of a failure: what was being done, to what, why it failed
// and what to do about it. Thread rule: stateless.

#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::launcher {

// "DOING: OBJECT: STRERROR (ADVICE)"; the parts that are empty are left out.
inline Failure explain(Errno why, std::string_view doing, std::string_view object,
                       std::string_view advice = {}) {
  std::string message(doing);
  if (!object.empty()) message.append(": ").append(object);
  message.append(": ").append(std::strerror(why.value));
  if (!advice.empty()) message.append(" (").append(advice).append(")");
  return Failure{why.value, std::move(message)};
}

// The same where no errno says it better than words.
inline Failure refuse(std::string_view doing, std::string_view object, std::string_view why,
                      std::string_view advice = {}) {
  std::string message(doing);
  if (!object.empty()) message.append(": ").append(object);
  message.append(": ").append(why);
  if (!advice.empty()) message.append(" (").append(advice).append(")");
  return Failure{EINVAL, std::move(message)};
}

}  // namespace varve::launcher
