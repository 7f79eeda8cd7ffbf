#pragma once

// Trial: what the file system of upper and work directory can do is tried, with one or two objects that are moved about: mostly there
// is no other way to know what a file system, a user namespace or a policy refuses. Thread rule: one thread. Ownership: borrows the
// descriptors; takes its objects away at the end.

#include "fs/base/result.h"
#include "fs/upper/marks.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class Trial {
 public:
  struct Place {
    int scratch = -1;  // a directory that only the work directory's owner uses
    int upper = -1;
    MarkStore marks;
    bool is_new = false;  // `scratch`: no trial before this one can have left anything in it
  };
  explicit Trial(const Place& place) : place_(place) {}
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;
  ~Trial();

  // Makes the first object. `for_overrides`: choose_overrides() will be asked.
  Status begin(bool for_overrides);
  // Requires, as what follows: begin().
  bool mode_arrived() const { return mode_arrived_; }  // no umask took bits away
  // Every change of the upper is a rename from or to the stage. Nobody sees what a kill leaves in the upper: it is a whiteout, and
  // hides nothing. Returns: EXDEV between two mounts of one file system; EINVAL where two names cannot be exchanged; EPERM where
  // no whiteout can be made.
  Status try_renames();
  // kNever where any owner may be given and devices be made, else kWhereNeeded.
  // Returns: the errno of setxattr(2) where overrides are needed and cannot be written.
  Result<OverrideUse> choose_overrides();

 private:
  Status clear_leftovers();
  Status make_file();

  const Place place_;
  bool made_object_ = false;
  bool made_whiteout_ = false;
  bool is_device_ = false;
  bool mode_arrived_ = false;
};

}  // namespace varve::upper
