#pragma once

// HandleTable: the open files of the mount, by the number that the kernel gives back with each request.
// Thread rule: any thread; its mutex is a leaf; a handle stays alive while a request uses it.

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "fs/base/mutex.h"
#include "fs/base/strong_id.h"
#include "fs/view/node.h"

namespace varve::view {

using HandleId = StrongId<struct HandleIdTag, std::uint64_t>;

struct FileHandle {
  NodePtr node;
  std::shared_ptr<OpenData> data;
  bool keeps_cache = true;  // what the kernel has cached of the file is good
  bool maps = false;        // one of data->mappers
};

class HandleTable {
 public:
  HandleId add(std::shared_ptr<FileHandle> handle) {
    const MutexLock lock(mutex_);
    const std::uint64_t id = next_++;
    handles_.emplace(id, std::move(handle));
    return HandleId(id);
  }
  // Null when there is none.
  std::shared_ptr<FileHandle> find(HandleId id) const {
    const MutexLock lock(mutex_);
    const auto at = handles_.find(id.value());
    return at == handles_.end() ? nullptr : at->second;
  }
  std::shared_ptr<FileHandle> remove(HandleId id) {
    const MutexLock lock(mutex_);
    const auto at = handles_.find(id.value());
    if (at == handles_.end()) return nullptr;
    std::shared_ptr<FileHandle> handle = std::move(at->second);
    handles_.erase(at);
    return handle;
  }
  std::size_t size() const {
    const MutexLock lock(mutex_);
    return handles_.size();
  }
  void clear() {
    std::unordered_map<std::uint64_t, std::shared_ptr<FileHandle>>
        gone;  // destroyed after the lock is released
    const MutexLock lock(mutex_);
    gone.swap(handles_);
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<FileHandle>> handles_ GUARDED_BY(mutex_);
  std::uint64_t next_ GUARDED_BY(mutex_) = 1;
};

}  // namespace varve::view
