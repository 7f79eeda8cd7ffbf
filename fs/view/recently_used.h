#pragma once

// RecentlyUsed: what was made for the nodes that were asked for last, so that it need not be made again for each request; bounded.
// Nothing that it keeps is ever told of a change: it is for what cannot change, or may be old.
// Thread rule: any thread; its mutex is a leaf. Ownership: shared with the requests that use it just now.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "fs/base/mutex.h"
#include "fs/base/strong_id.h"

namespace varve::view {

template <class Value>
class RecentlyUsed {
 public:
  using Pointer = std::shared_ptr<const Value>;

  // Keeps values as long as their weights together do not exceed `capacity`; the `least` used last in any case.
  RecentlyUsed(std::size_t capacity, std::size_t least) : capacity_(capacity), least_(least) {}

  // Null when there is none.
  Pointer find(NodeId id) {
    const MutexLock lock(mutex_);
    const auto found = kept_.find(id.value());
    if (found == kept_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return found->second->value;
  }

  // Returns: `value`, or what another thread kept for `id` meanwhile.
  Pointer keep(NodeId id, Pointer value, std::size_t weight) {
    std::list<Entry> gone;  // destroyed after the lock is released
    const MutexLock lock(mutex_);
    if (const auto found = kept_.find(id.value()); found != kept_.end()) return found->second->value;
    return keep_locked(id, std::move(value), weight, gone);
  }

  // In place of what is kept for `id`, if anything is. Returns: `value`.
  Pointer replace(NodeId id, Pointer value, std::size_t weight) {
    std::list<Entry> gone;
    const MutexLock lock(mutex_);
    drop_locked(id, gone);
    return keep_locked(id, std::move(value), weight, gone);
  }

  void drop(NodeId id) {
    std::list<Entry> gone;
    const MutexLock lock(mutex_);
    drop_locked(id, gone);
  }

  std::size_t size() const {
    const MutexLock lock(mutex_);
    return order_.size();
  }

 private:
  struct Entry {
    std::uint64_t id = 0;
    Pointer value;
    std::size_t weight = 0;
  };

  void drop_locked(NodeId id, std::list<Entry>& gone) REQUIRES(mutex_) {
    const auto found = kept_.find(id.value());
    if (found == kept_.end()) return;
    weight_ -= found->second->weight;
    gone.splice(gone.begin(), order_, found->second);
    kept_.erase(found);
  }

  Pointer keep_locked(NodeId id, Pointer value, std::size_t weight, std::list<Entry>& gone) REQUIRES(mutex_) {
    // Memory may run out at either step; nothing is kept then.
    std::list<Entry> added;
    added.push_front(Entry{id.value(), std::move(value), weight});
    kept_.emplace(id.value(), added.begin());
    order_.splice(order_.begin(), added);
    weight_ += weight;
    Pointer kept = order_.front().value;
    while (weight_ > capacity_ && order_.size() > least_) {
      weight_ -= order_.back().weight;
      kept_.erase(order_.back().id);
      gone.splice(gone.begin(), order_, std::prev(order_.end()));
    }
    return kept;
  }

  const std::size_t capacity_;
  const std::size_t least_;
  mutable Mutex mutex_;
  std::list<Entry> order_ GUARDED_BY(mutex_);  // the one used last first
  std::unordered_map<std::uint64_t, typename std::list<Entry>::iterator> kept_ GUARDED_BY(mutex_);
  std::size_t weight_ GUARDED_BY(mutex_) = 0;
};

}  // namespace varve::view
