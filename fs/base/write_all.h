#pragma once

// write_all(): write(2) until everything is written. Thread rule: any thread.

#include <string_view>

#include "fs/base/result.h"

namespace varve {

// Waits where `fd` is non-blocking, and goes on after signals. Returns: EPIPE, ENOSPC and so on; a part may be written then.
Status write_all(int fd, std::string_view bytes);

}  // namespace varve
