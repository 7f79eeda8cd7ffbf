#pragma once

// The manifest and configuration of an image that comes in, checked as far as they can be without its layers.
// Thread rule: one thread.

#include <string>
#include <vector>

#include "imagetool/image/store/image_config.h"
#include "imagetool/image/store/platform.h"
#include "imagetool/image/store/store.h"
#include "imagetool/transport/transport.h"

namespace varve::transfer {

enum class LayerKind : std::uint8_t {
  kVarve,
  kTar,  // plain or compressed; its bytes say how
};

struct IncomingImage {
  std::string manifest_text;
  bool keeps_manifest = false;  // the text can be the manifest in the store: all of its layers are varve's
  image::Descriptor config_descriptor;
  std::string config_text;
  image::ImageConfig config;  // with as many diff_ids as there are layers
  std::vector<image::Descriptor> layers;
  std::vector<LayerKind> kinds;  // of `layers`
};

// Of an index: the image for `platform`. Returns: EBADMSG, EINVAL and ENOTSUP as bring_in() does.
ResultOrFailure<IncomingImage> read_incoming_image(transport::ImageSource& source,
                                                   const image::Platform& platform);

}  // namespace varve::transfer
