#include "fs/base/check.h"

#include <cstdlib>

#include "fs/base/log.h"

namespace varve {

void check_failed(const char* expression, const char* file, int line) {
  log_fatal("bug: check failed: {} at {}:{}", expression, file, line);
  std::abort();
}

}  // namespace varve
