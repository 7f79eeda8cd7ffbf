#pragma once

// PartDirectory: a directory within the work directory that is made when the first thing is put into it. Thread rule: every method
// may be called from any thread. Ownership: owns its descriptor, borrows that of the work directory.

#include <atomic>
#include <string>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::upper {

// Opens the directory `name` of `parent`, and makes it when there is none.
Result<UniqueFd> open_or_make_directory(int parent, const std::string& name);

class PartDirectory {
 public:
  // `found`: the directory when it is there already, else invalid.
  PartDirectory(int parent, std::string name, UniqueFd found)
      : parent_(parent), name_(std::move(name)), fd_(found.release()) {}
  PartDirectory(const PartDirectory&) = delete;
  PartDirectory& operator=(const PartDirectory&) = delete;
  ~PartDirectory() { UniqueFd(fd()).reset(); }

  // Its descriptor; -1 as long as there is none.
  int fd() const { return fd_.load(std::memory_order_acquire); }
  // The same, made if there is none.
  Result<int> make() EXCLUDES(mutex_);

 private:
  const int parent_;
  const std::string name_;
  Mutex mutex_;  // held to set fd_
  std::atomic<int> fd_;
};

}  // namespace varve::upper
