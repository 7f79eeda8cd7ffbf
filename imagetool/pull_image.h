#pragma once

// pull_image: an image of a registry comes into the store: what `pull` does, and `build` for a FROM. Thread rule: the main thread.

#include <string>

#include "imagetool/progress.h"
#include "imagetool/registry_flags.h"
#include "imagetool/transfer/bring_in.h"
#include "imagetool/transport/registry_name.h"

namespace varve::imagetool {

struct PulledImage {
  image::Image image;
  std::string registry_digest;  // what the registry knows it by
};

// `name`: in the store. Returns: what registries and transfer::bring_in() fail with.
ResultOrFailure<PulledImage> pull_image(const transport::RegistryName& source, const image::ImageName& name,
                                        const RegistryFlags& flags, const transfer::BringInOptions& options,
                                        image::Store& store, ProgressMonitor& monitor);

}  // namespace varve::imagetool
