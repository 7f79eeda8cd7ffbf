#pragma once

// Name: a validated path component: 1 to 255 bytes, no '/', no NUL, neither "." nor "..". Borrows its bytes.

#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve {

class Name {
 public:
  static constexpr std::size_t kMaxSize = 255;

  // Returns: ENAMETOOLONG over 255 bytes; EINVAL for any other rule that is broken.
  static Result<Name> parse(std::string_view bytes) {
    if (bytes.size() > kMaxSize) return Errno{ENAMETOOLONG};
    if (bytes.empty() || bytes == "." || bytes == "..") return Errno{EINVAL};
    if (bytes.find('/') != std::string_view::npos || bytes.find('\0') != std::string_view::npos) {
      return Errno{EINVAL};
    }
    return Name(bytes);
  }

  std::string_view view() const { return bytes_; }
  std::string str() const { return std::string(bytes_); }
  friend bool operator==(Name, Name) = default;

 private:
  explicit Name(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes_;
};

}  // namespace varve
