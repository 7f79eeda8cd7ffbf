#pragma once

// open_layer: a path becomes a Layer, be it a layer file or a plain directory.
// Thread rule: may be called from any thread.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/layer/block_cache.h"
#include "fs/layer/layer.h"

namespace varve::layer {

// The process is root of the initial user namespace.
bool is_root_of_host();

// What the layers of one process share.
struct LayerContext {
  std::shared_ptr<BlockCache> cache = std::make_shared<BlockCache>();
  // Layer files with so much metadata or more are opened without reading all of it, where they have page hashes. Less is
  // read and checked sooner than it can be asked for page by page.
  std::uint64_t lazy_from_bytes = std::uint64_t{128} << 10;
  // Owners, modes and types of plain directories are read from their override xattrs: where this process may not give files
  // to anybody, such directories were not written with the owners themselves.
  bool overrides = !is_root_of_host();
};

// Among which layers one that was built on others (delta files) finds them.
struct LayersBelow {
  std::span<const std::shared_ptr<Layer>> layers;
  // These are all layers below, so one that is missing is a failure to open. Otherwise only the files that inherit from it
  // cannot be read.
  bool all_there = false;
};

// Opens what lies at `path`, which is taken as it is: it may lead through symbolic links ("link/../diff").
// Returns: a Failure "PATH: why (what to do)" for what is missing, not permitted, neither a directory nor a layer file,
// truncated (EUCLEAN), damaged (EUCLEAN) or of a version or with features that this build does not know (ENOTSUP).
ResultOrFailure<std::shared_ptr<Layer>> open_layer(const std::string& path, const LayerContext& context,
                                                   const LayersBelow& below = {});

// Opens a whole stack, given and returned with the topmost layer first, as lowerdir= has it.
// Returns: a Failure as open_layer does; ENOENT when a layer was built on another one that is not below it.
ResultOrFailure<std::vector<std::shared_ptr<Layer>>> open_stack(std::span<const std::string> paths,
                                                                const LayerContext& context);

}  // namespace varve::layer
