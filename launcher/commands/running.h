#pragma once

// A container that runs, found by its name: what is done to it is done by these descriptors, which cannot come to mean another
// process. Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/store/container_state.h"

namespace varve::launcher {

struct RunningContainer {
  image::ContainerState state;
  UniqueFd first_process;  // pidfd
};

// `doing`: for the message. Returns: a Failure, ENOENT for a name that there is none of, ESRCH when it does not run.
ResultOrFailure<RunningContainer> find_running(const image::ContainerStore& store, const std::string& name,
                                               const char* doing);

// The store's containers; `store` empty: the user's own store.
image::ContainerStore containers_of(const std::string& store);

}  // namespace varve::launcher
