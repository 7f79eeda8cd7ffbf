#pragma once

// Tree: the metadata of a file tree that is to become a layer, held in memory: nodes (inodes) and the names
// that lead to them, whiteouts included. Contents stay at their source (tree_source.h). Thread rule: a plain
// value; one thread at a time. Memory: about 80 bytes a file, since nodes are kept packed: node() gives a copy.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "imagetool/image/source/tree_names.h"
#include "imagetool/image/writer/layer_writer.h"

namespace varve::image {

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
  using Names = TreeNames;

  // Requires: `root` is a directory.
  explicit Tree(InodeSpec root);

  // A copy. Of its attributes only those are kept that a layer stores (layer_writer.h, InodeSpec).
  const Node node(TreeIndex index) const;
  // Of a regular file, in bytes; 0 for others.
  std::uint64_t size_bytes(TreeIndex index) const;
  std::int64_t mtime_seconds(TreeIndex index) const { return nodes_[index].mtime_seconds; }
  std::uint64_t source_key(TreeIndex index) const;
  void set_spec(TreeIndex index, InodeSpec spec);
  void set_opaque(TreeIndex index);
  void set_source_key(TreeIndex index, std::uint64_t key);
  void set_owner(TreeIndex index, std::uint32_t uid, std::uint32_t gid);
  void set_mtime(TreeIndex index, Timestamp mtime);
  // Frees all that is no longer needed once the metadata are in the layer: names, the sizes of regular files and what is
  // a directory stay. No node is asked for or changed afterwards.
  void keep_only_sizes();
  std::size_t node_count() const { return nodes_.empty() ? sizes_.size() : nodes_.size(); }
  bool is_directory(TreeIndex index) const {
    if (index == kWhiteoutNode) return false;
    return nodes_.empty() ? sizes_[index] == kDirectorySize : S_ISDIR(nodes_[index].mode);
  }

  // A node without a name yet. Nodes that never get one are left out of walks.
  TreeIndex add(InodeSpec spec);
  // Requires: `directory` is a directory. Replaces what had the name.
  void set_name(TreeIndex directory, std::string_view name, TreeIndex node);
  void set_whiteout(TreeIndex directory, std::string_view name) { set_name(directory, name, kWhiteoutNode); }
  // Takes away the names for which `keep` is false. It is asked with kWhiteoutNode too.
  void keep_names(const std::function<bool(TreeIndex node)>& keep);
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
  // 40 bytes.
  struct PackedNode {
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t mtime_nanoseconds = 0;
    std::int64_t mtime_seconds = 0;
    std::uint64_t size_or_rdev = 0;   // rdev of devices, size of all others
    std::unique_ptr<InodeSpec> rest;  // what is beyond the attributes; null when nothing is
  };
  static constexpr std::uint64_t kDirectorySize = ~std::uint64_t{0};  // no file is so large
  static PackedNode pack(InodeSpec spec);

  std::vector<PackedNode> nodes_;  // empty after keep_only_sizes()
  std::vector<std::uint64_t>
      sizes_;  // filled by it: of regular files, kDirectorySize of directories, 0 of others
  std::vector<std::uint64_t> source_keys_;      // by TreeIndex, as far as there are any
  std::unordered_map<TreeIndex, Names> names_;  // of directories that have any
};

}  // namespace varve::image
