#pragma once

// OverrideStat: owner, mode and type of an object that the file system below cannot give it, as containers/storage
// and fuse-overlayfs write it into one xattr (docs/upper-format.md): "UID:GID:MODE" or "UID:GID:MODE:TYPE". Pure
// functions over bytes that nobody vouches for.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fs/base/attributes.h"

namespace varve::format {

inline constexpr const char* kOverrideXattr = "user.containers.override_stat";

struct OverrideStat {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t permissions = 0;  // 07777
  std::uint32_t type = 0;         // S_IFMT bits; 0: the type that the object has itself
  std::uint64_t rdev = 0;         // devices: dev_t as makedev(3) builds it
  friend bool operator==(const OverrideStat&, const OverrideStat&) = default;
};

// MODE is octal, with or without leading zeros and S_IFMT bits. TYPE is file, dir, symlink, pipe, socket, char-MAJOR-MINOR
// or block-MAJOR-MINOR.
// Returns: empty for everything else, a device without its numbers and S_IFMT bits of another type than TYPE included.
std::optional<OverrideStat> parse_override_stat(std::string_view text);

// Without TYPE for what is stored as itself (type 0, files, directories): so old and new readers understand it.
std::string format_override_stat(const OverrideStat& stat);

// Puts what `stat` says over `attributes`, which are those of the stored object. A regular file may stand for a symbolic
// link, a FIFO, a socket or a device; links keep the size, which is that of the target.
// Returns: false, with nothing changed, when the stored object cannot stand for the type.
bool apply_override_stat(const OverrideStat& stat, Attributes& attributes);

}  // namespace varve::format
