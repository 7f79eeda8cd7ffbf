#include "fs/view/settler.h"

#include <signal.h>

#include <exception>
#include <utility>

#include "fs/base/log.h"
#include "fs/base/processors.h"

namespace varve::view {

bool Settler::add(const NodePtr& node) {
  const MutexLock lock(mutex_);
  if (stopping_ || queue_.size() >= kMostQueued) return false;
  if (!thread_.joinable()) {
    // Signals are for the threads that wait for them.
    sigset_t all;
    sigset_t usual;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &usual);
    try {
      thread_ = std::thread([this] { work(); });
    } catch (const std::exception& refused) {
      log_debug("starting a thread to sync files: {}", refused.what());
    }
    ::pthread_sigmask(SIG_SETMASK, &usual, nullptr);
    if (!thread_.joinable()) return false;
  }
  queue_.push_back(node);
  changed_.notify_one();
  return true;
}

void Settler::stop() {
  std::thread ended;
  std::deque<NodePtr> left;  // nodes die without the lock
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    left.swap(queue_);
    ended = std::move(thread_);
    changed_.notify_all();
  }
  if (ended.joinable()) ended.join();
}

void Settler::work() {
  use_all_processors();
  for (;;) {
    NodePtr node;
    {
      const MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) changed_.wait(mutex_);
      if (stopping_) return;
      node = std::move(queue_.front());
      queue_.pop_front();
    }
    settle_(*node);
  }
}

}  // namespace varve::view
