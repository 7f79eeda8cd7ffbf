#pragma once

// TerminatedName: a copy of a name with a NUL behind it, as system calls take one. It lies in the object itself, so that
// a request does not allocate for each call.

#include <array>
#include <cstring>
#include <string_view>

#include "fs/base/check.h"
#include "fs/base/name.h"

namespace varve::upper {

class TerminatedName {
 public:
  // Requires: Name::kMaxSize bytes at most; may be empty, as in an ObjectRef.
  explicit TerminatedName(std::string_view name) {
    VARVE_CHECK(name.size() <= Name::kMaxSize);
    if (!name.empty()) std::memcpy(bytes_.data(), name.data(), name.size());
    bytes_[name.size()] = '\0';
  }
  const char* c_str() const { return bytes_.data(); }

 private:
  std::array<char, Name::kMaxSize + 1> bytes_;  // not cleared: what lies behind the NUL is never read
};

}  // namespace varve::upper
