#pragma once

// What the FUSE protocol has and libfuse 3.14 and the kernel headers of Debian 12 do not name.
// Source: include/uapi/linux/fuse.h of Linux 6.9 (protocol 7.40). Private to fs/fuse.

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace varve::fuse::wire {

// In flags2 of INIT (bit 37 of the whole): reads and writes may go past this process.
inline constexpr std::uint32_t kPassthroughInFlags2 = 1U << (37 - 32);
// Where fuse_init_out has max_stack_depth, a uint32_t: file systems below this one on the way to a disk, 1 or 2.
inline constexpr std::size_t kStackDepthOffset =
    offsetof(struct fuse_init_out, flags2) + sizeof(std::uint32_t);

// In fuse_open_out: `padding` is the number of the file that the kernel reads and writes itself.
inline constexpr std::uint32_t kOpenPassthrough = 1U << 7;

struct BackingMap {
  std::int32_t fd = -1;
  std::uint32_t flags = 0;
  std::uint64_t padding = 0;
};
// Both need CAP_SYS_ADMIN in the initial user namespace. Open: returns a number above 0.
inline constexpr unsigned long kBackingOpen = _IOW(FUSE_DEV_IOC_MAGIC, 1, BackingMap);
inline constexpr unsigned long kBackingClose = _IOW(FUSE_DEV_IOC_MAGIC, 2, std::uint32_t);

}  // namespace varve::fuse::wire
