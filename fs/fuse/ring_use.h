#pragma once

// What -o uring= asks for: requests over io_uring (docs/decisions/0020).

#include <cstdint>

namespace varve::fuse {

// kOn: mounting fails where it cannot be had.
enum class RingUse : std::uint8_t { kAuto, kOn, kOff };

}  // namespace varve::fuse
