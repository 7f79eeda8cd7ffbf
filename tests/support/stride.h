#pragma once

// stride(): tests that do one thing at every place of many go on by this many places. It is 1, so that none is left out, unless
// VARVE_TEST_STRIDE says otherwise: under a sanitizer, which looks for other faults and takes ten times as long, CMake sets it
// (varve_test_stride in cmake/VarveTargets.cmake; scripts/test --thorough does not).

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace varve::test {

inline std::uint32_t stride() {
  const char* asked = std::getenv("VARVE_TEST_STRIDE");
  return asked == nullptr ? 1 : std::max(1U, static_cast<std::uint32_t>(std::strtoul(asked, nullptr, 10)));
}

}  // namespace varve::test
