#include "fs/fuse/request_counts.h"

namespace varve::fuse {
namespace {

// By opcode (linux/fuse.h, enum fuse_opcode).
constexpr std::string_view kNames[] = {
    "UNKNOWN",      "LOOKUP",        "FORGET",      "GETATTR",  "SETATTR",  "READLINK",
    "SYMLINK",      "UNKNOWN",       "MKNOD",       "MKDIR",    "UNLINK",   "RMDIR",
    "RENAME",       "LINK",          "OPEN",        "READ",     "WRITE",    "STATFS",
    "RELEASE",      "UNKNOWN",       "FSYNC",       "SETXATTR", "GETXATTR", "LISTXATTR",
    "REMOVEXATTR",  "FLUSH",         "INIT",        "OPENDIR",  "READDIR",  "RELEASEDIR",
    "FSYNCDIR",     "GETLK",         "SETLK",       "SETLKW",   "ACCESS",   "CREATE",
    "INTERRUPT",    "BMAP",          "DESTROY",     "IOCTL",    "POLL",     "NOTIFY_REPLY",
    "BATCH_FORGET", "FALLOCATE",     "READDIRPLUS", "RENAME2",  "LSEEK",    "COPY_FILE_RANGE",
    "SETUPMAPPING", "REMOVEMAPPING", "SYNCFS",      "TMPFILE",  "STATX"};

}  // namespace

std::vector<std::pair<std::string_view, std::uint64_t>> RequestCounts::seen() const {
  std::vector<std::pair<std::string_view, std::uint64_t>> all;
  for (std::size_t opcode = 0; opcode < kKinds; ++opcode) {
    const std::uint64_t count = counts_[opcode].load(std::memory_order_relaxed);
    if (count != 0) all.emplace_back(opcode < std::size(kNames) ? kNames[opcode] : kNames[0], count);
  }
  return all;
}

}  // namespace varve::fuse
