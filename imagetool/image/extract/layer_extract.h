#pragma once

// Extraction of a layer to a directory or a tar archive, with everything the layer holds: types, owners,
// modes, times to the nanosecond, xattrs, ACLs, capabilities, holes, devices, hard links. Whiteouts, opaque
// marks and redirects are written as overlayfs knows them into directories, and as OCI layers do (".wh.NAME",
// ".wh..wh..opq") into archives. Layers are not trusted: nothing is written outside the target, whatever
// links the layer holds. Thread rule: one thread a call. Ownership: borrows layer and monitor.

#include <cstdint>
#include <string>

#include "fs/layer/layer.h"
#include "imagetool/image/extract/tar_writer.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/writer/layer_output.h"

namespace varve::image {

struct ExtractSummary {
  std::uint64_t objects = 0;  // names
  std::uint64_t content_bytes = 0;
  std::uint64_t losses =
      0;  // each told by monitor.warn: xattrs, owners, devices that could not be set or made
};

// `directory` is made when absent, else it must be empty. An ordinary user cannot set owners: one warning, no
// loss; what else the system refuses (devices, trusted xattrs) is a loss. Damaged content or a full disk is a
// Failure, and what was extracted by then stays.
ResultOrFailure<ExtractSummary> extract_to_directory(const layer::Layer& layer, const std::string& directory,
                                                     Monitor& monitor);

// A pax archive (tar_writer.h), in the order of names: equal layers give equal bytes. It is written to its end, but not published.
// A socket, a redirect (UnionLayer has none), a file called ".wh.*" and a whiteout of a name longer than 251 bytes are losses.
// kForLayers: a file with at most 1 GiB of holes has zeros there; with more it stays sparse, as nobody wants those.
ResultOrFailure<ExtractSummary> extract_to_tar(const layer::Layer& layer, LayerOutput& output,
                                               Monitor& monitor, TarStyle style = TarStyle::kForTar);

}  // namespace varve::image
