#pragma once

// NodeTable: every live Node, by the number that the kernel knows it by and by its inode number.
// Numbers are given out once and never again in the life of the mount.
// Thread rule: any thread; its mutex is a leaf of the lock order.
// Ownership: holds a node as long as the kernel refers to it; afterwards handles and children may, and a look-up that
// finds such a node revives it, so that two Nodes never stand for one object.

#include <cstdint>
#include <utility>

#include "fs/base/mutex.h"
#include "fs/base/strong_id.h"
#include "fs/view/chained_index.h"
#include "fs/view/node.h"

namespace varve::view {

class NodeTable {
 public:
  NodeTable() = default;
  ~NodeTable() { clear(); }
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;

  // The node with this inode number, or a new one that `prepare` fills before anyone else can see it. Of two threads
  // that make the same node at once one wins, and both get the winner. Does not count as a kernel reference.
  template <class Prepare>
  NodePtr find_or_make(std::uint64_t inode_number, std::uint32_t type, const Prepare& prepare) {
    if (NodePtr known = find_of_type(inode_number, type); known != nullptr) return known;
    NodePtr made = make(inode_number, type);
    prepare(*made);
    return publish(std::move(made));
  }
  // Null when there is none.
  NodePtr find(NodeId id) const;
  NodePtr find_by_inode(std::uint64_t inode_number) const;

  // The kernel refers to `node` once more / `count` times less.
  void reference(const NodePtr& node);
  void forget(NodeId id, std::uint64_t count);
  bool is_referenced(NodeId id) const;

  // The object has no name left: its inode number may belong to another one soon.
  void detach(Node& node);

  std::size_t size() const;
  // Gives up all references, as after an unmount. Requires: the kernel asks for nothing any more.
  void clear();

 private:
  friend class NodePtr;
  static std::uint64_t id_of(const Node& node) { return node.id_.value(); }
  static std::uint64_t inode_number_of(const Node& node) { return node.inode_number_; }
  // Null when there is none; one of another type is detached.
  NodePtr find_of_type(std::uint64_t inode_number, std::uint32_t type);
  NodePtr make(std::uint64_t inode_number, std::uint32_t type);
  // Returns: `made`, or who was published before it.
  NodePtr publish(NodePtr made);
  // Deletes a node whose last share has gone.
  void bury(Node& node);

  mutable Mutex mutex_;
  // Those that the kernel refers to; the table has a share of each.
  ChainedIndex<Node, &Node::next_by_id_, id_of> by_id_ GUARDED_BY(mutex_);
  // All but detached ones, those without a share on their way to bury() included.
  ChainedIndex<Node, &Node::next_by_inode_, inode_number_of> by_inode_ GUARDED_BY(mutex_);
  std::uint64_t next_id_ GUARDED_BY(mutex_) = 1;  // the first node made is the root, FUSE_ROOT_ID
};

}  // namespace varve::view
