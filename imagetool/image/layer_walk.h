#pragma once

// Reading whole layers: one object with all its metadata, and a walk in the order of names.
// Thread rule: stateless; one thread a call. Ownership: borrows the layer.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/layer/layer.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

// Everything of one object but its content; nlink and size included.
// Returns: a Failure that names `path`.
ResultOrFailure<InodeSpec> read_object(const layer::Layer& layer, LowerId id, const std::string& path);

struct NamedEntry {
  std::string name;
  layer::Entry entry;
};
// Of one directory, sorted by the bytes of the names.
ResultOrFailure<std::vector<NamedEntry>> sorted_entries(const layer::Layer& layer, LowerId directory,
                                                        const std::string& path);

struct LayerVisit {
  const std::string& path;    // from the root, without a leading '/'; empty for the root
  const layer::Entry& entry;  // a whiteout or an object
  std::size_t depth;          // 0: the root
  bool last;                  // of its directory
};
// Each name once, the root first, a directory before what is in it. `visit` returns false to pass over a
// directory.
StatusOrFailure walk_layer(const layer::Layer& layer,
                           const std::function<ResultOrFailure<bool>(const LayerVisit&)>& visit);

// The sizes of the regular files by each of their names: how much there is to extract, at most. Returns: as walk_layer.
ResultOrFailure<std::uint64_t> content_bytes(const layer::Layer& layer, const Monitor& monitor);

// The object at `path` ("/a/b", "a/b", "" or "/" for the root), following no symbolic link.
// Returns: ENOENT with a message that names the path.
ResultOrFailure<LowerId> find_in_layer(const layer::Layer& layer, std::string_view path);

}  // namespace varve::image
