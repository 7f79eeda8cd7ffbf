#pragma once

// give_out: an image of the store goes anywhere else: as it is, varve layers and all, or with plain OCI tar layers, which everybody
// else's tools read. The tar of a layer is a function of the layer, so two exports are equal, and so are their digests.
// Thread rule: one thread calls.

#include <cstdint>
#include <string>

#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/store/store.h"
#include "imagetool/transport/transport.h"

namespace varve::transfer {

enum class LayerForm : std::uint8_t {
  kVarve,    // as they are in the store; manifest and digests stay
  kTar,      // application/vnd.oci.image.layer.v1.tar
  kTarGzip,  // ...+gzip
  kTarZstd,  // ...+zstd
};

struct GiveOutOptions {
  LayerForm form = LayerForm::kTarGzip;
  int level = 0;      // of the compression; 0: its default
  unsigned jobs = 0;  // 0: one for each processor
};

struct GivenOut {
  image::Digest manifest_digest;
  std::uint64_t layers_written = 0;  // that were not there already
  std::uint64_t bytes_written = 0;   // of these
};

// Tar layers are made in the store's scratch directory first. Returns: the failure of store or destination; what a whiteout or
// xattr lost in a tar is told by monitor.warn.
ResultOrFailure<GivenOut> give_out(image::Store& store, const image::Image& image,
                                   transport::ImageDestination& destination, const GiveOutOptions& options,
                                   image::Monitor& monitor);

}  // namespace varve::transfer
