#pragma once

// CommitPlan: what `imagetool commit TARGET` makes a layer of, and over which image: of a container, a mount point or an upper.
// Thread rule: plain values; make_commit_plan is stateless.

#include <optional>
#include <string>

#include "fs/base/result.h"
#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/store.h"

namespace varve::imagetool {

struct CommitPlan {
  std::string upper;
  std::string work;  // empty: an upper of overlayfs, which has nothing of ours in its work directory
  image::Image parent;
  std::string created_by;
  std::optional<image::ContainerState> container;  // whose upper it is
};

struct CommitTarget {
  std::string target;  // CONTAINER, MOUNTPOINT or UPPER, as it was typed
  std::string parent;  // --parent, or empty
  std::string work;    // --work, or empty
};
// Returns: a Failure that says what `target` is instead, and what to do.
ResultOrFailure<CommitPlan> make_commit_plan(const CommitTarget& wanted, const image::Store& store);

}  // namespace varve::imagetool
