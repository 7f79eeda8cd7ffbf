#pragma once

// read_fully: pread(2) until the span is full. Pure system call wrapper; any thread.

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/base/result.h"

namespace varve::layer {

// Returns: ENODATA when the file ends before the span is full, which pread itself never says; else what pread says.
Status read_fully(int fd, std::uint64_t offset_bytes, std::span<std::byte> out);

}  // namespace varve::layer
