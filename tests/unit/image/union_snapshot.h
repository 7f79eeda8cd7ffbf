#pragma once

// UnionSnapshot: all that a reader of a stack of layers can tell of it, through fs/view without a mount.

#include <memory>
#include <string>
#include <vector>

#include "fs/layer/layer.h"

namespace varve::image {

// A line for each name, sorted. `layers`: the topmost first. `link_counts`: tell st_nlink too, which names that are hidden count
// in; which names are one file is told in any case.
std::vector<std::string> snapshot_of_union(std::vector<std::shared_ptr<layer::Layer>> layers,
                                           bool link_counts);

}  // namespace varve::image
