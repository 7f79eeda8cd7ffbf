#include "fs/base/attributes.h"

namespace varve {
namespace {

Timestamp timestamp_from(const struct timespec& from) {
  return Timestamp{from.tv_sec, static_cast<std::uint32_t>(from.tv_nsec)};
}

}  // namespace

Attributes attributes_from_stat(const struct stat& from) {
  return Attributes{
      .mode = from.st_mode,
      .nlink = static_cast<std::uint32_t>(from.st_nlink),
      .uid = from.st_uid,
      .gid = from.st_gid,
      .rdev = S_ISCHR(from.st_mode) || S_ISBLK(from.st_mode) ? from.st_rdev : 0,
      .size_bytes = static_cast<std::uint64_t>(from.st_size),
      .blocks_512 = static_cast<std::uint64_t>(from.st_blocks),
      .atime = timestamp_from(from.st_atim),
      .mtime = timestamp_from(from.st_mtim),
      .ctime = timestamp_from(from.st_ctim),
  };
}

}  // namespace varve
