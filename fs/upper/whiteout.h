#pragma once

// Whiteouts: a character device 0:0 says that its name is absent, whatever lower layers hold (the form of the
// kernel's overlayfs, fs/overlayfs/overlayfs.h).

#include <sys/stat.h>

#include <atomic>
#include <cstdint>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/upper/marks.h"
#include "fs/upper/stage.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

// Makes a device of its own. Returns: EEXIST when the name is taken.
Status make_whiteout(ObjectRef where);
// Whether `object`, whose status is `status`, is a whiteout: a device 0:0 of a user looks the same.
Result<bool> is_whiteout(const MarkStore& marks, ObjectRef object, const struct stat& status);

// Makes whiteouts as links to one device in the stage, as the kernel's overlayfs does (ovl_whiteout of fs/overlayfs/dir.c): a link
// costs less than an inode, and is told from other devices by its inode number alone. Thread rule: every method may be called
// from any thread. Ownership: borrows the stage, and may be used as long as nobody clears that.
class SharedWhiteout {
 public:
  explicit SharedWhiteout(Stage& stage) : stage_(stage) {}

  static constexpr const char* kName = "whiteout";  // in the stage
  // Returns: EEXIST when the name is taken.
  Status make(ObjectRef where) EXCLUDES(mutex_);
  // True: a character device of the upper with this number is a whiteout. False says nothing.
  bool is(std::uint64_t inode_number) const { return inode_number == inode_number_ && inode_number != 0; }

 private:
  Status begin() REQUIRES(mutex_);

  Stage& stage_;
  Mutex mutex_;
  bool exists_ GUARDED_BY(mutex_) = false;       // in the stage
  bool cannot_link_ GUARDED_BY(mutex_) = false;  // the file system below takes no links to a device
  std::atomic<std::uint64_t> inode_number_ =
      0;  // as long as the stage holds it no other object gets its number
};

}  // namespace varve::upper
