#pragma once

// LayerUnion: several layers of a stack read as one, for what builds layers: what a name shows, and what all of these layers
// together say of those below them. (What is mounted is merged by fs/view, which keeps an index of each directory.)
// Thread rule: immutable; any thread. Ownership: shares the layers.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/layer/layer.h"

namespace varve::image {

// One object of one layer.
struct UnionRef {
  std::size_t layer = 0;  // index in LayerUnion::layers()
  LowerId id;
};

// What the topmost layer that knows a name says of it.
struct UnionEntry {
  layer::Entry::Kind kind = layer::Entry::Kind::kAbsent;
  UnionRef object;         // kObject
  std::uint32_t type = 0;  // kObject: the S_IFMT bits

  bool is_object() const { return kind == layer::Entry::Kind::kObject; }
};

struct UnionDirectory {
  std::vector<UnionRef> sources;  // directories of single layers that merge, the topmost first
  // The path ("" for the root, "/a/b") in the layers below all of these that merges here too; empty: nothing of them does.
  std::optional<std::string> below;
};

class LayerUnion {
 public:
  // `layers`: the topmost first.
  explicit LayerUnion(std::vector<std::shared_ptr<layer::Layer>> layers) : layers_(std::move(layers)) {}

  const std::vector<std::shared_ptr<layer::Layer>>& layers() const { return layers_; }
  const layer::Layer& layer(const UnionRef& object) const { return *layers_[object.layer]; }

  // All of these return a Failure that names a layer when that cannot be read.

  ResultOrFailure<UnionDirectory> root() const { return root_from(0); }
  ResultOrFailure<UnionEntry> look_up(const UnionDirectory& directory, std::string_view name) const;
  // The directory `name` of `directory`: without sources when these layers have none there.
  ResultOrFailure<UnionDirectory> enter(const UnionDirectory& directory, std::string_view name) const;
  // The directory at `path` ("/a/b"), likewise.
  ResultOrFailure<UnionDirectory> enter_path(std::string_view path) const { return path_from(0, path); }

  struct NamedEntry {
    std::string name;
    UnionEntry entry;
  };
  // Each name that one of the layers knows, whiteouts included, sorted by its bytes.
  ResultOrFailure<std::vector<NamedEntry>> entries(const UnionDirectory& directory) const;

 private:
  // Of the layers from index `first` on.
  ResultOrFailure<UnionDirectory> root_from(std::size_t first) const;
  ResultOrFailure<UnionDirectory> path_from(std::size_t first, std::string_view path) const;
  Failure at(std::size_t layer, std::string_view name, Errno error) const;

  std::vector<std::shared_ptr<layer::Layer>> layers_;
};

}  // namespace varve::image
