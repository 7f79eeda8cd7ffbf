#pragma once

// open_layer: a path becomes a Layer, be it a layer file or a plain directory.
// Thread rule: may be called from any thread.

#include <memory>
#include <string>

#include "fs/base/result.h"
#include "fs/layer/block_cache.h"
#include "fs/layer/layer.h"

namespace varve::layer {

// What the layers of one process share.
struct LayerContext {
  std::shared_ptr<BlockCache> cache = std::make_shared<BlockCache>();
};

// Opens what lies at `path`, which is taken as it is: it may lead through symbolic links ("link/../diff").
// Returns: a Failure "PATH: why (what to do)" for what is missing, not permitted, neither a directory nor a layer file,
// truncated (EUCLEAN), damaged (EUCLEAN) or of a version or with features that this build does not know (ENOTSUP).
ResultOrFailure<std::shared_ptr<Layer>> open_layer(const std::string& path, const LayerContext& context);

}  // namespace varve::layer
