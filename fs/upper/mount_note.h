#pragma once

// MountNote: which mount an upper serves, written on the upper's root for as long as it does (the mark `mount`, docs/upper-format.md).
// The mount itself is never asked: what a file system says of itself, anybody's can say. A plain value.

#include <sys/types.h>

#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::upper {

struct MountNote {
  dev_t device = 0;   // st_dev of everything in the mount
  std::string image;  // the digest of the image that was asked for; empty: layers were named one by one
  friend bool operator==(const MountNote&, const MountNote&) = default;
};

inline constexpr const char* kMountMark = "mount";

// "0:55" or "0:55 sha256:HEX".
std::string format_mount_note(const MountNote& note);
// Returns: EBADMSG for text that is no note.
Result<MountNote> parse_mount_note(std::string_view text);
// The note on the directory `upper`, in whichever namespace it lies. Returns: ENODATA when there is none, EBADMSG.
Result<MountNote> read_mount_note(int upper);

}  // namespace varve::upper
