#pragma once

// HardlinkIndex: finds the upper object that a lower hard link was copied up to, so that the other names of
// the link join it. Each entry is one more hard link, "SLOT-INODE", in the work directory's index. Thread
// rule: every method may be called from any thread.

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <unistd.h>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/upper/marks.h"
#include "fs/upper/part_directory.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class HardlinkIndex {
 public:
  // As for PartDirectory.
  HardlinkIndex(int parent, std::string name, UniqueFd found)
      : directory_(parent, std::move(name), std::move(found)) {}

  int fd() const { return directory_.fd(); }
  // Reads the index into memory, and clears up what a kill left: an entry whose object was never published, or has no
  // name left in the union, is removed after forget(ObjectRef) was called with it; an entry whose object was published
  // is confirmed. other_names(ObjectRef) tells how many names of an object only layers show (Marks::nlink_delta).
  template <class OtherNames, class Forget>
  Status load(const OtherNames& other_names, const Forget& forget);

  // After a kill: what it left of changes of link counts (MarkStore::settle_nlink). Requires: the stage is clear.
  Status settle_link_counts(const MarkStore& marks) const;

  static std::string name_of(const Origin& origin);
  // Whether one link of the upper inode `inode_number` is an entry here.
  bool holds(std::uint64_t inode_number) const EXCLUDES(mutex_);
  // Whether what was copied up from `origin` has an entry.
  bool has(const Origin& origin) const EXCLUDES(mutex_);
  // An O_PATH descriptor; empty when it was not copied up.
  Result<std::optional<UniqueFd>> find(const Origin& origin) const EXCLUDES(mutex_);
  // Enters `object`, which has no name in the upper yet; to be confirmed as soon as it has. The entry is told apart by
  // its name until then: a kill in between leaves an entry that stands for nothing, but an entry that was confirmed
  // stays although its object has no name in the upper any more, as long as layers show one.
  // Returns: EEXIST when the origin has an entry.
  Status enter(const Origin& origin, ObjectRef object, std::uint64_t inode_number) EXCLUDES(mutex_);
  Status confirm(const Origin& origin);
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
    Origin origin;
    bool confirmed = false;
    std::uint64_t inode_number = 0;
    bool has_upper_name = false;
  };
  Result<std::vector<Found>> scan() const;
  void remember(const Origin& origin, std::uint64_t inode_number) EXCLUDES(mutex_);

  PartDirectory directory_;
  mutable Mutex mutex_;
  std::unordered_map<Origin, std::uint64_t, Hash> inode_numbers_ GUARDED_BY(mutex_);
  std::unordered_set<std::uint64_t> held_ GUARDED_BY(mutex_);  // the values of inode_numbers_
};

template <class OtherNames, class Forget>
Status HardlinkIndex::load(const OtherNames& other_names, const Forget& forget) {
  VARVE_ASSIGN(const std::vector<Found> found, scan());
  for (const Found& entry : found) {
    const ObjectRef object{fd(), entry.name};
    bool stale = !entry.has_upper_name;
    if (stale && entry.confirmed) {
      VARVE_ASSIGN(const std::int64_t others, other_names(object));
      stale = others <= 0;
    }
    if (stale) {
      forget(object);
      if (::unlinkat(fd(), entry.name.c_str(), 0) != 0) return Errno::last();
      continue;
    }
    if (!entry.confirmed) VARVE_RETURN_IF_ERROR(confirm(entry.origin));
    remember(entry.origin, entry.inode_number);
  }
  return {};
}

}  // namespace varve::upper
