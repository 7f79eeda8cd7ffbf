#pragma once

// TreeSnapshot: all that can be told of a directory tree: metadata, contents, where the holes are, which
// names are one file. Two trees are the same when their snapshots are equal line by line.

#include <string>
#include <vector>

namespace varve::image {

// A line for each name, sorted; the root first. Requires: the tree can be read.
std::vector<std::string> snapshot_of(const std::string& root);

}  // namespace varve::image
