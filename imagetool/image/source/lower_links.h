#pragma once

// add_lower_links: a file with several names in a layer was copied up under some of them. In the mount the
// others lead to the copy; over the new layer they would lead to the old file. So they are added to the tree
// of the new layer, wherever they are visible, with the directories on the way. Thread rule: one thread a
// call.

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fs/layer/layer.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::image {

// (slot of the layer counted from the bottom, which is 1; Layer::inode_number) -> the copy in the tree.
using LowerLinks = std::map<std::pair<std::uint16_t, std::uint64_t>, TreeIndex>;

// `layers`: bottom first. `tree`: what lies over them.
StatusOrFailure add_lower_links(Tree& tree, const std::vector<std::shared_ptr<layer::Layer>>& layers,
                                const LowerLinks& wanted, Monitor& monitor);

}  // namespace varve::image
