#pragma once

// union_difference: what two stacks of layers show differently, path by path, as a person or a program wants to be told. Directories
// that both merge from the very same objects are passed over, so two images with most of their layers in common cost what differs.
// Thread rule: one thread a call. Ownership: borrows everything.

#include <cstdint>
#include <functional>
#include <string>

#include "fs/base/result.h"
#include "imagetool/image/layer_union.h"

namespace varve::image {

struct PathChange {
  enum class Kind : std::uint8_t { kAdded, kChanged, kRemoved };
  Kind kind = Kind::kChanged;
  std::string path;                // "/a/b"; "/" for the root
  std::uint64_t bytes_before = 0;  // of a regular file
  std::uint64_t bytes_after = 0;
  // kChanged: of what. Another type is all of them.
  bool content = false;     // bytes, target of a symbolic link, number of a device
  bool attributes = false;  // mode, owner, time of change of anything but a directory
  bool xattrs = false;
};

// Calls `tell` for each path that differs, in the order of names, a directory before what is in it. What lies in a directory that
// one side has not is told name by name.
// Returns: a Failure that names layer and path when something cannot be read.
StatusOrFailure compare_unions(const LayerUnion& before, const LayerUnion& after,
                               const std::function<void(const PathChange&)>& tell);

}  // namespace varve::image
