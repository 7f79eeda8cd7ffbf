#pragma once

// VARVE_CHECK(condition): aborts with file and line when a bug is found, in every build type: wrong data is worse
// than a dead mount.

namespace varve {

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace varve

#define VARVE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::varve::check_failed(#condition, __FILE__, __LINE__))
