#pragma once

// NodeTable: every live Node, by the number that the kernel knows it by and by its inode number.
// Numbers are given out once and never again in the life of the mount.
// Thread rule: any thread; its mutex is a leaf of the lock order.
// Ownership: holds a node as long as the kernel refers to it; afterwards handles and children may, and a look-up that
// finds such a node revives it, so that two Nodes never stand for one object.

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "fs/base/mutex.h"
#include "fs/base/strong_id.h"
#include "fs/view/node.h"

namespace varve::view {

class NodeTable {
 public:
  NodeTable() = default;
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;

  // The node with this inode number, or a new one that `prepare` fills before anyone else can see it. Of two threads
  // that make the same node at once one wins, and both get the winner. Does not count as a kernel reference.
  NodePtr find_or_make(std::uint64_t inode_number, std::uint32_t type,
                       const std::function<void(Node&)>& prepare);
  // Null when there is none.
  NodePtr find(NodeId id) const;
  NodePtr find_by_inode(std::uint64_t inode_number) const;

  // The kernel refers to `node` once more / `count` times less.
  void reference(const NodePtr& node);
  void forget(NodeId id, std::uint64_t count);
  bool is_referenced(NodeId id) const;

  // The object has no name left: its inode number may belong to another one soon.
  void detach(const Node& node);

  std::size_t size() const;
  // Gives up all references, as after an unmount.
  void clear();

 private:
  friend class Node;
  void erase_expired(std::uint64_t inode_number);

  struct Referenced {
    NodePtr node;
    std::uint64_t count = 0;
  };
  mutable Mutex mutex_;
  std::unordered_map<std::uint64_t, Referenced> by_id_ GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::weak_ptr<Node>> by_inode_ GUARDED_BY(mutex_);
  std::uint64_t next_id_ GUARDED_BY(mutex_) = 1;  // the first node made is the root, FUSE_ROOT_ID
};

}  // namespace varve::view
