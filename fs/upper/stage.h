#pragma once

// Stage: the part of the work directory where objects are made ready before they appear in the upper, and
// where they go to be taken apart. Each change of the upper is one rename from or to here, so that a kill at
// any point leaves the old or the new state, and rubbish only here; it is cleared at the next mount. (The
// scheme of the kernel's overlayfs: fs/overlayfs/dir.c, copy_up.c.) Thread rule: every method may be called
// from any thread. Ownership: owns its descriptor.

#include <atomic>
#include <cstdint>
#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class Stage {
 public:
  explicit Stage(UniqueFd directory) : directory_(std::move(directory)) {}

  int fd() const { return directory_.get(); }
  // A name that nothing in the stage has.
  std::string new_name();
  // Removes everything. Requires: no one else uses the stage.
  Status clear();
  // Removes `name` and what is below it. What cannot be removed stays for the next mount (one log line).
  void discard(const std::string& name);

 private:
  UniqueFd directory_;
  std::atomic<std::uint64_t> next_{0};
};

// An object being made in the stage; discarded with the object unless it was published.
class Draft {
 public:
  // A name to make an object by. With `acl_parent` (-1: none) the object is made in a folder of its own that
  // carries the default ACL of that directory, so that the kernel computes what is inherited.
  static Result<Draft> begin(Stage& stage, int acl_parent);
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;
  ~Draft();

  // Where to make it, and by what name it is reached then.
  ObjectRef ref() const { return {folder_fd_.valid() ? folder_fd_.get() : stage_->fd(), name_}; }
  // Moves the object to `where`, which must be absent. Returns: EEXIST when it is not.
  Status publish(ObjectRef where);
  // Moves the object to `where` in place of the non-directory there; a directory changes places with it.
  Status publish_over(ObjectRef where, bool is_directory);
  // Takes back what publish() moved to `where`: it is discarded with the draft then. Requires: no acl_parent.
  Status withdraw(ObjectRef where);

 private:
  explicit Draft(Stage& stage) : stage_(&stage) {}

  Stage* stage_;
  std::string name_;
  std::string folder_name_;  // empty: none
  UniqueFd folder_fd_;
};

enum class ReplaceMode : std::uint8_t { kReplace, kNoReplace, kExchange, kWhiteout };
// renameat2(2). kReplace: rename(2); kWhiteout: RENAME_WHITEOUT.
Status rename_object(ObjectRef from, ObjectRef to, ReplaceMode mode);
// Removes `name` of `directory`, with everything below it.
Status remove_tree(int directory, const std::string& name);

}  // namespace varve::upper
