#pragma once

// bring_in: an image from anywhere becomes an image of the store. Layers that are varve's are taken as they are; tar layers of others
// (uncompressed, gzip, zstd, zstd:chunked; OCI and Docker media types) become varve layers, each with those below as its parents, so
// that what is unchanged costs nothing. Configuration and history stay as they came, byte for byte, and so do their digest, which
// others call the image's id, and the diff_ids of the tar layers (docs/decisions/0016); an image of varve layers alone keeps its
// manifest, too.
//
// A layer that the store has, because it was brought in before over the same layers, is neither fetched nor converted again
// (docs/decisions/0018), however it was packed and built then; one whose bytes are not right any more is replaced.
//
// Every blob that comes is checked against its digest and size, and every tar against its diff_id, before anything of it is used. All of it lies
// in the store's scratch directory until the last layer is there: on failure nothing of the image has a name, and there is no blob that
// was not there before. (Should the store itself fail while the finished layers are moved into it, those that were stay for gc.)
// Thread rule: one thread calls; downloads have their own.

#include <optional>
#include <string>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/store/platform.h"
#include "imagetool/image/store/store.h"
#include "imagetool/transport/transport.h"

namespace varve::transfer {

struct BringInOptions {
  std::optional<image::Platform> platform;  // of an index; default: this machine's
  // Of layers that are converted. Output path, owner and times are not looked at: images stay what they are.
  image::BuildOptions build;
  unsigned jobs = 0;  // downloads at once; 0: three
};

// Returns: the image under `name`. EBADMSG for bytes that are not what their digest or size says, EINVAL for JSON or archives that make
// no sense, ENOTSUP for what is none of ours to read (other operating systems, artifacts, encrypted layers).
ResultOrFailure<image::Image> bring_in(transport::ImageSource& source, image::Store& store,
                                       const image::ImageName& name, const BringInOptions& options,
                                       image::Monitor& monitor);

}  // namespace varve::transfer
