#pragma once

// What the FUSE protocol has and libfuse 3.14 and the kernel headers of Debian 12 do not name.
// Source: include/uapi/linux/fuse.h of Linux 6.14 (protocol 7.42). Private to fs/fuse.

#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <array>
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

// In flags2 of INIT (bit 41 of the whole): requests may come over io_uring (Documentation/filesystems/fuse/fuse-io-uring.rst).
inline constexpr std::uint32_t kOverIoUringInFlags2 = 1U << (41 - 32);

// Beside a request, and beside its answer.
struct RingState {
  std::uint64_t flags = 0;
  std::uint64_t commit_id = 0;      // of a request: what its answer is committed with
  std::uint32_t payload_bytes = 0;  // of the other memory that are filled
  std::uint32_t padding = 0;
  std::uint64_t reserved = 0;
};
// The first of the two pieces of memory that a ring entry consists of. The other one, the payload, has all that follows the
// structure of the opcode: names, data; and the whole answer.
struct RingHeader {
  std::array<std::byte, 128> in_out;     // fuse_in_header, then fuse_out_header
  std::array<std::byte, 128> operation;  // the structure of the opcode, where it has one
  RingState state;
};
// What the kernel is told in the command part of a submission of 128 bytes.
struct RingCommand {
  std::uint64_t flags = 0;
  std::uint64_t commit_id = 0;
  std::uint16_t queue = 0;  // that of processor 0, 1, ...
  std::array<std::uint8_t, 6> padding{};
};
enum class RingOperation : std::uint32_t {
  kRegister = 1,        // here is memory for a request
  kCommitAndFetch = 2,  // here is the answer; the memory is free for the next request
};

}  // namespace varve::fuse::wire
