#pragma once

// DirectoryFds: keeps the descriptors of the most recently used upper directories open, at most `capacity` of them.
// Thread rule: any thread; its mutex is a leaf. Ownership: shares descriptors with whoever is using them just now.

#include <cstddef>
#include <list>
#include <memory>

#include "fs/base/mutex.h"
#include "fs/base/unique_fd.h"

namespace varve::view {

class DirectoryFds {
 public:
  explicit DirectoryFds(std::size_t capacity) : capacity_(capacity) {}

  // Keeps `fd` until `capacity` others have been added.
  void keep(std::shared_ptr<const UniqueFd> fd) {
    std::shared_ptr<const UniqueFd> oldest;  // closed after the lock is released
    const MutexLock lock(mutex_);
    kept_.push_back(std::move(fd));
    if (kept_.size() <= capacity_) return;
    oldest = std::move(kept_.front());
    kept_.pop_front();
  }

 private:
  const std::size_t capacity_;
  Mutex mutex_;
  std::list<std::shared_ptr<const UniqueFd>> kept_ GUARDED_BY(mutex_);
};

}  // namespace varve::view
