#pragma once

// Attributes: what stat(2) tells of an object, wherever it lies. A plain value.

#include <sys/stat.h>

#include <cstdint>

namespace varve {

// Seconds since 1970 (negative before) and nanoseconds in 0..999,999,999.
struct Timestamp {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
  friend bool operator==(const Timestamp&, const Timestamp&) = default;
};

struct Attributes {
  std::uint32_t mode = 0;  // type and permission bits, as st_mode
  std::uint32_t nlink = 1;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t rdev = 0;  // dev_t as makedev(3) builds it; 0 unless a device
  std::uint64_t size_bytes = 0;
  std::uint64_t blocks_512 = 0;  // st_blocks
  Timestamp atime, mtime, ctime;

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_regular() const { return S_ISREG(mode); }
  bool is_symlink() const { return S_ISLNK(mode); }
};

// The attributes in a struct stat; st_ino and st_dev are left to the caller.
Attributes attributes_from_stat(const struct stat& from);

}  // namespace varve
