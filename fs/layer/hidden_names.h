#pragma once

// Names by which union file systems keep their own book in a directory tree, and which a layer does not show.
// Sources: Linux fs/overlayfs/overlayfs.h (OVL_XATTR_*), fuse-overlayfs.1, OCI image-spec layer.md, aufs.5.
// Pure functions.

#include <array>
#include <string_view>

namespace varve::layer {

inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";
inline constexpr std::string_view kAufsPrefix = ".wh..wh.";  // aufs's own files, the opaque mark among them

inline constexpr std::array<std::string_view, 5> kHiddenXattrPrefixes = {
    "trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.", "trusted.varve.", "user.varve."};

constexpr bool is_hidden_xattr(std::string_view name) {
  for (const std::string_view prefix : kHiddenXattrPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace varve::layer
