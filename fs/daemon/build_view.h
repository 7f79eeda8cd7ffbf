#pragma once

// From options to a view: opens the layers and the upper. Thread rule: called once, before serving.

#include <memory>

#include "fs/base/result.h"
#include "fs/layer/block_cache.h"
#include "fs/view/options.h"
#include "fs/view/union_view.h"

namespace varve::daemon {

// Layers share `cache`. A read-only mount over an upper opens the upper as always, because only it can tell what partly copied files hold; the
// kernel keeps writes away.
// Returns: a Failure that names the layer or directory, why it cannot be used, and what to do.
ResultOrFailure<std::unique_ptr<view::UnionView>> build_view(const view::Options& options,
                                                             const std::shared_ptr<layer::BlockCache>& cache);

}  // namespace varve::daemon
