#pragma once

// Layers that are built straight into a store, where they become blobs: of any TreeSource, and of what was written over an image.
// Thread rule: as build_layer.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/layer_builder.h"
#include "imagetool/image/store/store.h"

namespace varve::image {

// `options.writer.output_path` is chosen here. Nothing is left behind by a failure.
ResultOrFailure<Descriptor> build_layer_blob(Store& store, TreeSource& source, BuildOptions options,
                                             Monitor& monitor);

// Layers of the store that a new one will lie on, bottom first.
struct LayersBelow {
  std::vector<Descriptor> layers;
  std::vector<std::string> paths;
};
// The same, with parents: what `below` holds already is not stored again. `options.parents` is chosen here.
ResultOrFailure<Descriptor> build_layer_blob_over(Store& store, const LayersBelow& below, TreeSource& source,
                                                  BuildOptions options, Monitor& monitor);

// What was written over layers of the store.
struct WrittenUpper {
  std::string upper;
  std::string work;  // empty: an upper of overlayfs, which has nothing of ours in its work directory
  LayersBelow below;
};
// The upper as a layer with those layers as its parents; the upper stays. `options.parents` is chosen here.
// Returns: also what UpperSource::open says of an upper that is in use or belongs to other layers.
ResultOrFailure<Descriptor> build_upper_blob(Store& store, const WrittenUpper& written, BuildOptions options,
                                             Monitor& monitor);

}  // namespace varve::image
