#include "fs/view/node_table.h"

#include <utility>

#include "fs/base/check.h"

namespace varve::view {

Node::~Node() {
  if (table_ != nullptr) table_->erase_expired(inode_number_);
}

NodePtr NodeTable::find_or_make(std::uint64_t inode_number, std::uint32_t type,
                                const std::function<void(Node&)>& prepare) {
  if (NodePtr found = find_by_inode(inode_number)) {
    // Another type under the same number means the object was replaced behind the table's back.
    if (found->type() == type) return found;
    detach(*found);
  }
  NodeId id;
  {
    const MutexLock lock(mutex_);
    id = NodeId(next_id_++);
  }
  NodePtr made = std::make_shared<Node>(id, type, inode_number, this);
  prepare(*made);
  NodePtr winner;
  {
    const MutexLock lock(mutex_);
    std::weak_ptr<Node>& slot = by_inode_[inode_number];
    winner = slot.lock();
    if (winner == nullptr) {
      slot = made;
      return made;
    }
  }
  return winner;
}

NodePtr NodeTable::find(NodeId id) const {
  const MutexLock lock(mutex_);
  const auto at = by_id_.find(id.value());
  return at == by_id_.end() ? nullptr : at->second.node;
}

NodePtr NodeTable::find_by_inode(std::uint64_t inode_number) const {
  const MutexLock lock(mutex_);
  const auto at = by_inode_.find(inode_number);
  return at == by_inode_.end() ? nullptr : at->second.lock();
}

void NodeTable::reference(const NodePtr& node) {
  const MutexLock lock(mutex_);
  Referenced& entry = by_id_[node->id().value()];
  entry.node = node;
  ++entry.count;
}

void NodeTable::forget(NodeId id, std::uint64_t count) {
  NodePtr last;  // destroyed after the lock is released: its destructor takes it again
  const MutexLock lock(mutex_);
  const auto at = by_id_.find(id.value());
  if (at == by_id_.end()) return;
  VARVE_CHECK(at->second.count >= count);
  at->second.count -= count;
  if (at->second.count != 0) return;
  last = std::move(at->second.node);
  by_id_.erase(at);
}

bool NodeTable::is_referenced(NodeId id) const {
  const MutexLock lock(mutex_);
  return by_id_.contains(id.value());
}

void NodeTable::detach(const Node& node) {
  const MutexLock lock(mutex_);
  const auto at = by_inode_.find(node.inode_number());
  if (at != by_inode_.end() && at->second.lock().get() == &node) by_inode_.erase(at);
}

void NodeTable::erase_expired(std::uint64_t inode_number) {
  const MutexLock lock(mutex_);
  const auto at = by_inode_.find(inode_number);
  if (at != by_inode_.end() && at->second.expired()) by_inode_.erase(at);
}

void NodeTable::clear() {
  std::unordered_map<std::uint64_t, Referenced> gone;  // destroyed after the lock is released
  const MutexLock lock(mutex_);
  gone.swap(by_id_);
}

std::size_t NodeTable::size() const {
  const MutexLock lock(mutex_);
  return by_id_.size();
}

}  // namespace varve::view
