#pragma once

// HardlinkIndex: finds the upper object that a lower hard link was copied up to, so that the other names of the link
// join it. Each entry is one more hard link, "SLOT-INODE", in the work directory's index.
// Thread rule: every method may be called from any thread. Ownership: owns its descriptor.

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <unistd.h>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class HardlinkIndex {
 public:
  explicit HardlinkIndex(UniqueFd directory) : directory_(std::move(directory)) {}

  int fd() const { return directory_.get(); }
  // Reads the index into memory. Entries whose object has no other name any more are what a kill left: they are
  // removed, after `forget` was called with them.
  template <class Forget>
  Status load(const Forget& forget);

  static std::string name_of(const Origin& origin);
  // Whether one link of the upper inode `inode_number` is an entry here.
  bool holds(std::uint64_t inode_number) const EXCLUDES(mutex_);
  // An O_PATH descriptor; empty when it was not copied up.
  Result<std::optional<UniqueFd>> find(const Origin& origin) const EXCLUDES(mutex_);
  // Enters `object`. Returns: EEXIST when the origin has an entry.
  Status enter(const Origin& origin, ObjectRef object, std::uint64_t inode_number) EXCLUDES(mutex_);
  // Returns: ENOENT when there is no entry.
  Status drop(const Origin& origin) EXCLUDES(mutex_);

 private:
  struct Hash {
    std::size_t operator()(const Origin& origin) const noexcept {
      return std::hash<std::uint64_t>{}(origin.inode_number << 16 ^ origin.slot.value());
    }
  };
  struct Found {
    std::string name;
    bool stale = false;
  };
  Result<std::vector<Found>> scan() EXCLUDES(mutex_);

  UniqueFd directory_;
  mutable Mutex mutex_;
  std::unordered_map<Origin, std::uint64_t, Hash> inode_numbers_ GUARDED_BY(mutex_);
  std::unordered_set<std::uint64_t> held_ GUARDED_BY(mutex_);  // the values of inode_numbers_
};

template <class Forget>
Status HardlinkIndex::load(const Forget& forget) {
  VARVE_ASSIGN(const std::vector<Found> found, scan());
  for (const Found& entry : found) {
    if (!entry.stale) continue;
    forget(ObjectRef{fd(), entry.name});
    if (::unlinkat(fd(), entry.name.c_str(), 0) != 0) return Errno::last();
  }
  return {};
}

}  // namespace varve::upper
