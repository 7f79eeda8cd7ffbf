#pragma once

// FormatError: why bytes are not a layer. A plain value.

#include <string>

#include "fs/base/result.h"

namespace varve::format {

struct [[nodiscard]] FormatError {
  enum class Kind : std::uint8_t {
    kCorrupted,    // was a layer once, and is damaged or was made by a broken writer
    kUnsupported,  // a version or feature that this build does not know
    kOutOfBounds,  // something points outside of what it points into
    kUnreadable,  // bytes that could not be had or were not what was written; whoever tried has told (no message)
  };
  Kind kind = Kind::kCorrupted;
  std::string message;  // what was found, without the path
};

inline FormatError corrupted(std::string message) {
  return FormatError{FormatError::Kind::kCorrupted, std::move(message)};
}
inline FormatError unsupported(std::string message) {
  return FormatError{FormatError::Kind::kUnsupported, std::move(message)};
}
inline FormatError out_of_bounds(std::string message) {
  return FormatError{FormatError::Kind::kOutOfBounds, std::move(message)};
}

inline FormatError unreadable() {
  return FormatError{FormatError::Kind::kUnreadable, {}};
}

template <class T>
using FormatResult = Result<T, FormatError>;
using FormatStatus = Result<void, FormatError>;

}  // namespace varve::format
