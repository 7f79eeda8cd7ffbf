#pragma once

// build_layer: a TreeSource becomes a layer file. The order in which objects and contents are handed to the
// writer depends on the source alone, so equal input and options give equal bytes. Thread rule: one thread
// calls; the writer has its own for compression.

#include <cstdint>
#include <optional>

#include "imagetool/image/chunk/parent_chunks.h"
#include "imagetool/image/parent_files.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

struct Owner {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct BuildOptions {
  LayerWriter::Options writer;
  bool by_similarity = false;  // alike files side by side, which are read twice for it (TreeSource)
  bool verify = false;         // read the layer again and decode all of it before it gets its name
  std::optional<Owner> owner;  // of every object, in place of what the source says
  // Times later than this many seconds since 1970 become this
  // (https://reproducible-builds.org/specs/source-date-epoch).
  std::optional<std::int64_t> latest_mtime_seconds;
  // The layers that the new one will lie on: what they hold already is not stored again. Borrowed; may be null.
  ParentFiles* parents = nullptr;
  // The source is all that is to be seen above the parents: only the difference is stored (tree_difference.h). Requires: parents.
  bool difference = false;
  // Look for content-defined chunks of this size on average (chunk_cutter.h) in the parents, wherever they lie. Needs parents.
  std::optional<std::uint32_t> chunk_bytes;
  std::size_t chunk_table_bytes = ParentChunks::kDefaultTableBytes;
};

// Returns: the failure of source or writer; then there is no output file.
ResultOrFailure<LayerWriter::Summary> build_layer(TreeSource& source, const BuildOptions& options,
                                                  Monitor& monitor);

}  // namespace varve::image
