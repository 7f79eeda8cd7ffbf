#pragma once

// layer_annotations: what the descriptor of a layer in a manifest says for those who read layers from afar, so that they need no look
// at the end of the file first (docs/layer-format.md, "From afar"). Thread rule: stateless.

#include <map>
#include <string>

#include "fs/base/result.h"

namespace varve::image {

// `path`: a layer file. Reads its metadata once, without looking into it.
// Returns: EUCLEAN for what is no layer file; what cannot be read.
ResultOrFailure<std::map<std::string, std::string>> layer_annotations(const std::string& path);

}  // namespace varve::image
