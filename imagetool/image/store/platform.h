#pragma once

// Platform: for which machines an image is, and which one of an index is this machine's (image-spec image-index.md, "platform").
// Thread rule: plain values.

#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/image/store/store.h"

namespace varve::image {

struct Platform {
  std::string os = "linux";
  std::string architecture;  // GOARCH spelling: amd64, arm64
  std::string variant;       // "v7"; empty: the usual one of the architecture, else any
  std::string text() const;  // "linux/arm/v7"
};

// "OS/ARCHITECTURE[/VARIANT]". Names that uname(2) has for an architecture are taken too. Returns: EINVAL.
ResultOrFailure<Platform> parse_platform(std::string_view text);
Platform host_platform();

// One of the entries of an index, which may be an index again. A machine runs what is made for an older variant of its architecture
// too; the newest such is taken (containerd/platforms, compare.go). Attestations and the like (platform "unknown/unknown") are no
// images. `where`: how messages call the index.
// Returns: ENOTSUP when there is none, with a message that says which ones there are; EINVAL for text that is no index.
ResultOrFailure<Descriptor> choose_manifest(std::string_view index, const Platform& wanted,
                                            const std::string& where);

}  // namespace varve::image
