#pragma once

// give_out: an image of the store goes anywhere else: as it is, varve layers and all, or with plain OCI tar layers, which everybody
// else's tools read. The tar of a layer is a function of the layer, so two exports are equal, and so are their digests.
//
// A tar says of the layers below it what OCI layers can say: whiteouts and opaque directories. A directory that was renamed is opaque
// there, with all that is in it; content that a file inherits is written out. Files with several names stay one file, unless
// a renamed directory holds some of the names and the layers below the others.
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
  image::Digest config_digest;       // what Docker and others call the image's id
  std::uint64_t layers_written = 0;  // that were not there already
  std::uint64_t bytes_written = 0;   // of these
  std::uint64_t losses = 0;          // that a tar cannot hold (extract_to_tar), each told by monitor.warn
};

// Tar layers are made in the store's scratch directory first. Their configuration has their diff_ids; as many entries of
// its history as there are layers say that they made one, which containerd insists on: entries are added without a command
// where there were fewer, and the oldest made no layer where there were more. Returns: the failure of store or destination.
ResultOrFailure<GivenOut> give_out(image::Store& store, const image::Image& image,
                                   transport::ImageDestination& destination, const GiveOutOptions& options,
                                   image::Monitor& monitor);

}  // namespace varve::transfer
