#pragma once

// outside_names: a directory of the lower layers was renamed in the topmost one, and a file in it has further names elsewhere that only
// layers below the topmost hold. Who writes such a directory out anew (UnionLayer, kTopmost) writes that file as well, and it stays one
// file only if all its names come along (docs/decisions/0019).
// Thread rule: stateless.

#include <map>
#include <string>

#include "fs/base/result.h"
#include "imagetool/image/layer_union.h"

namespace varve::image {

// Names that the topmost layer does not hold, in the directories of the union where they are.
struct OutsideNames {
  std::map<std::string, UnionEntry, std::less<>> names;          // objects that are no directories
  std::map<std::string, OutsideNames, std::less<>> directories;  // on the way to such names
  UnionRef
      directory;  // the object that says what this directory is: the topmost one that the union has there
  bool empty() const { return names.empty() && directories.empty(); }
};
// Returns: a Failure that names a layer when that cannot be read; ELOOP for directories too deep.
ResultOrFailure<OutsideNames> outside_names(const LayerUnion& layers);

}  // namespace varve::image
