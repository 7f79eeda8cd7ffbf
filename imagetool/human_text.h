#pragma once

// Numbers as people read them. Thread rule: stateless.

#include <cstdint>
#include <string>

namespace varve::imagetool {

// "1.5 MB": decimal units, three digits.
std::string human_bytes(std::uint64_t bytes);
// "42 s", "3:07 min".
std::string human_seconds(double seconds);

}  // namespace varve::imagetool
