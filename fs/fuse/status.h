#pragma once

// What a mount tells of itself: `varvefs --status` reads the xattr kStatusXattr of its root. The xattr is not listed, and there
// only for who may ask.
// Thread rule: pure functions and values.

#include "fs/fuse/libfuse.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve::fuse {

// In the system namespace, of which the kernel checks nothing (fs/xattr.c, xattr_permission).
inline constexpr std::string_view kStatusXattr = "system.varvefs.status";

// Of -o wakeup_us=.
struct WakeupStatus {
  std::uint32_t asked_us = 0;
  bool held = false;        // the kernel is asked for it at this moment
  std::uint64_t taken = 0;  // how many times it was
  std::string why_not;      // empty: it can be asked
};

struct MountStatus {
  std::vector<std::pair<std::string_view, std::uint64_t>> requests;  // RequestCounts::seen
  bool passthrough = false;  // the kernel reads and writes files of the upper itself
  std::string_view why_no_passthrough;
  std::string_view why_no_rings;       // empty: requests come over io_uring
  std::optional<WakeupStatus> wakeup;  // empty: without the option
};

// The status names paths of the host, which are none of a container's business: the caller must be the user of this process,
// and see its processes, so be in the same PID namespace.
bool may_ask_for_status(const struct fuse_ctx& caller);

}  // namespace varve::fuse
