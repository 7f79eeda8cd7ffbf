#pragma once

// NodePtr: a share in a Node, which lives until its last one goes. The count stands in the node: a shared_ptr would be
// twice as large, and so would what it allocates beside the node.
// Thread rule: as shared_ptr: the count is safe from any thread, one NodePtr is not.

#include <cstddef>
#include <utility>

namespace varve::view {

class Node;

class NodePtr {
 public:
  NodePtr() = default;
  NodePtr(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): as shared_ptr
  NodePtr(const NodePtr& other) : node_(other.node_) {
    if (node_ != nullptr) hold(*node_);
  }
  NodePtr(NodePtr&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  NodePtr& operator=(NodePtr other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~NodePtr() { reset(); }

  // Takes over a share that is counted already.
  static NodePtr adopt(Node& counted) {
    NodePtr taken;
    taken.node_ = &counted;
    return taken;
  }
  // Null when the last share has gone and the node is about to die. Requires: it is not deleted meanwhile.
  static NodePtr share_if_alive(Node& node) { return try_hold(node) ? adopt(node) : NodePtr(); }
  // The share stays counted, to be taken over with `adopt`.
  void release() { node_ = nullptr; }

  void reset() {
    if (Node* const last = std::exchange(node_, nullptr)) drop(*last);
  }
  Node* get() const { return node_; }
  Node* operator->() const { return node_; }
  Node& operator*() const { return *node_; }
  friend bool operator==(const NodePtr& a, const NodePtr& b) { return a.node_ == b.node_; }
  friend bool operator==(const NodePtr& a, std::nullptr_t) { return a.node_ == nullptr; }

 private:
  // node.h, node_table.cc
  static void hold(Node& node);
  static bool try_hold(Node& node);
  static void drop(Node& node);

  Node* node_ = nullptr;
};

}  // namespace varve::view
