#include "fs/view/node_table.h"

#include "fs/base/check.h"

namespace varve::view {

bool NodePtr::try_hold(Node& node) {
  std::uint32_t shares = node.shares_.load(std::memory_order_relaxed);
  while (shares != 0) {
    if (node.shares_.compare_exchange_weak(shares, shares + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void NodePtr::drop(Node& node) {
  // What any thread did to the node comes before its end.
  if (node.shares_.fetch_sub(1, std::memory_order_acq_rel) == 1) node.table_.bury(node);
}

NodePtr NodeTable::find_of_type(std::uint64_t inode_number, std::uint32_t type) {
  NodePtr found = find_by_inode(inode_number);
  if (found == nullptr || found->type() == type) return found;
  // Another type under the same number means the object was replaced behind the table's back.
  detach(*found);
  return nullptr;
}

NodePtr NodeTable::make(std::uint64_t inode_number, std::uint32_t type) {
  NodeId id;
  {
    const MutexLock lock(mutex_);
    id = NodeId(next_id_++);
  }
  return NodePtr::adopt(*new Node(id, type, inode_number, *this));
}

NodePtr NodeTable::publish(NodePtr made) {
  // A loser dies after the lock is released: its end takes it again.
  const MutexLock lock(mutex_);
  if (Node* const other = by_inode_.find(made->inode_number())) {
    if (NodePtr winner = NodePtr::share_if_alive(*other); winner != nullptr) return winner;
    by_inode_.remove(*other);
  }
  by_inode_.add(*made);
  return made;
}

NodePtr NodeTable::find(NodeId id) const {
  const MutexLock lock(mutex_);
  Node* const found = by_id_.find(id.value());
  return found == nullptr ? nullptr : NodePtr::share_if_alive(*found);
}

NodePtr NodeTable::find_by_inode(std::uint64_t inode_number) const {
  const MutexLock lock(mutex_);
  Node* const found = by_inode_.find(inode_number);
  return found == nullptr ? nullptr : NodePtr::share_if_alive(*found);
}

void NodeTable::reference(const NodePtr& node) {
  const MutexLock lock(mutex_);
  if (node->kernel_references_ == 0) {
    by_id_.add(*node);
    NodePtr(node).release();
  }
  ++node->kernel_references_;
}

void NodeTable::forget(NodeId id, std::uint64_t count) {
  NodePtr last;  // goes after the lock is released: the node's end takes it again
  const MutexLock lock(mutex_);
  Node* const node = by_id_.find(id.value());
  if (node == nullptr) return;
  VARVE_CHECK(node->kernel_references_ >= count);
  node->kernel_references_ -= count;
  if (node->kernel_references_ != 0) return;
  by_id_.remove(*node);
  last = NodePtr::adopt(*node);
}

bool NodeTable::is_referenced(NodeId id) const {
  const MutexLock lock(mutex_);
  return by_id_.find(id.value()) != nullptr;
}

void NodeTable::detach(Node& node) {
  const MutexLock lock(mutex_);
  by_inode_.remove(node);
}

void NodeTable::bury(Node& node) {
  {
    const MutexLock lock(mutex_);
    by_inode_.remove(node);
  }
  delete &node;
}

void NodeTable::clear() {
  decltype(by_id_) gone;
  {
    const MutexLock lock(mutex_);
    gone.swap(by_id_);
  }
  // Without the lock: a node's end takes it.
  gone.remove_all([](Node& node) {
    node.kernel_references_ = 0;
    NodePtr::adopt(node).reset();
  });
}

std::size_t NodeTable::size() const {
  const MutexLock lock(mutex_);
  return by_id_.size();
}

}  // namespace varve::view
