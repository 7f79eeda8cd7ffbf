#pragma once

// DigestFields: one digest of several texts and numbers, each told from the next, so that no two lists of them give the same bytes.
// Thread rule: one thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "imagetool/image/store/digest.h"

namespace varve::recipe {

class DigestFields {
 public:
  void add(std::string_view text) {
    add(text.size());
    hash_.update(std::as_bytes(std::span(text)));
  }
  void add(std::uint64_t number) {
    const std::string digits = std::to_string(number) + ":";
    hash_.update(std::as_bytes(std::span(digits)));
  }
  // Requires: called once.
  image::Digest finish() { return hash_.finish(); }

 private:
  image::Sha256 hash_;
};

}  // namespace varve::recipe
