#pragma once

// validate(): one linear pass over the metadata of a layer whose checksums are good. A checksum only says
// that the bytes are those that were written; this says that they describe a tree, so that the rest of the
// program may walk them without fear of loops, of names that mean something else, or of reads outside of a
// frame. Pure; time O(records), memory about 5 bytes an inode and 4 a frame.

#include "fs/format/format_error.h"
#include "fs/format/layer_decode.h"

namespace varve::format {

// What holds afterwards is listed in docs/layer-format.md, "What a reader must check".
FormatStatus validate(const LayerTables& tables);

}  // namespace varve::format
