#pragma once

// bring_in: an image from anywhere becomes an image of the store. Layers that are varve's are taken as they are; tar layers of others
// (uncompressed, gzip, zstd, zstd:chunked; OCI and Docker media types) become varve layers while they stream, each with those below
// as its parents, so that what is unchanged costs nothing. Configuration and history stay as they came; diff_ids stay those of the
// tar layers (docs/decisions/0016). Every blob is checked against its digest and size before anything of it is used or kept;
// on failure nothing of the image has a name, and no blob of it is kept that was not there before.
// Thread rule: one thread calls.

#include <optional>
#include <string>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/store/store.h"
#include "imagetool/transport/transport.h"

namespace varve::transfer {

// As in an index (image-spec image-index.md): "linux/arm64/v8".
struct Platform {
  std::string os = "linux";
  std::string architecture;  // GOARCH
  std::string variant;       // empty: any
};
ResultOrFailure<Platform> parse_platform(std::string_view text);

struct BringInOptions {
  std::optional<Platform> platform;  // of an index; default: this machine's
  image::BuildOptions build;         // of layers that are converted; its output path is not looked at
  unsigned jobs = 0;                 // downloads at once; 0: three
};

// Returns: the image under `name`. EBADMSG for bytes that are not what their digest or size says, EINVAL for JSON or archives that make
// no sense, ENOTSUP for what is none of ours to read (other operating systems, artifacts, encrypted layers).
ResultOrFailure<image::Image> bring_in(transport::ImageSource& source, image::Store& store,
                                       const image::ImageName& name, const BringInOptions& options,
                                       image::Monitor& monitor);

}  // namespace varve::transfer
