#pragma once

// Settler: files of the upper that were written whole and then closed are synced one after the other, in a thread of its own, so that they
// become ordinary files (upper/cow/cow_file_state.cc) without anybody's waiting for a disk. What does not find a place in the
// queue stays as it is until its next fsync or close.
// Thread rule: any thread; its mutex is a leaf. Ownership: shares the nodes while they are queued.

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>

#include "fs/base/mutex.h"
#include "fs/view/node.h"

namespace varve::view {

class Settler {
 public:
  // `settle` does the work for one node, in the settler's thread.
  explicit Settler(std::function<void(Node&)> settle) : settle_(std::move(settle)) {}
  Settler(const Settler&) = delete;
  Settler& operator=(const Settler&) = delete;
  ~Settler() { stop(); }

  // Returns: false when the queue is full, the settler was stopped, or the system has no thread for it.
  bool add(const NodePtr& node) EXCLUDES(mutex_);
  // Ends the thread after the file that it is at; nothing is taken afterwards.
  void stop() EXCLUDES(mutex_);

 private:
  static constexpr std::size_t kMostQueued = 64;

  void work() EXCLUDES(mutex_);

  const std::function<void(Node&)> settle_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<NodePtr> queue_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_ GUARDED_BY(mutex_);
};

}  // namespace varve::view
