#pragma once

// Tree: the metadata of a file tree that is to become a layer, held in memory: nodes (inodes) and the names
// that lead to them, whiteouts included. Contents stay at their source (tree_source.h). Thread rule: a plain
// value; one thread at a time. Memory: about 250 bytes a file.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/image/layer_writer.h"

namespace varve::image {

// Index of a node; 0 is the root directory.
using TreeIndex = std::uint32_t;
inline constexpr TreeIndex kTreeRoot = 0;
// What a whiteout has in place of a node.
inline constexpr TreeIndex kWhiteoutNode = ~TreeIndex{0};

// "NAME" within "", or "DIRECTORY/NAME".
std::string join_path(std::string_view directory, std::string_view name);

class Tree {
 public:
  struct Node {
    InodeSpec spec;
    // What the source finds the content by: a number of its own. 0: none.
    std::uint64_t source_key = 0;
  };
  // Sorted by the bytes of the names.
  using Names = std::map<std::string, TreeIndex, std::less<>>;

  // Requires: `root` is a directory.
  explicit Tree(InodeSpec root);

  Node& node(TreeIndex index) { return nodes_[index]; }
  const Node& node(TreeIndex index) const { return nodes_[index]; }
  std::size_t node_count() const { return nodes_.size(); }
  bool is_directory(TreeIndex index) const {
    return index != kWhiteoutNode && nodes_[index].spec.attributes.is_directory();
  }

  // A node without a name yet. Nodes that never get one are left out of walks.
  TreeIndex add(InodeSpec spec);
  // Requires: `directory` is a directory. Replaces what had the name.
  void set_name(TreeIndex directory, std::string_view name, TreeIndex node);
  void set_whiteout(TreeIndex directory, std::string_view name) { set_name(directory, name, kWhiteoutNode); }
  // Null when the directory has no such name.
  const TreeIndex* find(TreeIndex directory, std::string_view name) const;
  const Names& names(TreeIndex directory) const;

  struct Visit {
    const std::string& path;  // from the root, without a leading '/'; empty for the root
    std::string_view name;
    TreeIndex directory;
    TreeIndex node;  // kWhiteoutNode for a whiteout
  };
  // Each name once, the root first, a directory before what is in it, names in byte order: the canonical
  // order, which depends on the tree alone. Stops at the first failure of `visit`.
  StatusOrFailure walk(const std::function<StatusOrFailure(const Visit&)>& visit) const;

 private:
  std::vector<Node> nodes_;
  std::vector<std::unique_ptr<Names>> names_;  // by TreeIndex; null unless a directory with names
};

}  // namespace varve::image
