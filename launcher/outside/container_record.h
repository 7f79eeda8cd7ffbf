#pragma once

// ContainerRecord: the container's entry in the store while its launcher lives: the state file, kept true, and a lock
// that tells others that it runs. The lock is held by launcher and daemon together, so whoever gets it knows that nobody
// writes to the container's upper any more, however the two ended.
// Thread rule: one thread. Owned by the launcher's execute().

#include <optional>
#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/store/container_state.h"
#include "launcher/plan.h"

namespace varve::launcher {

class ContainerRecord {
 public:
  // Makes the container's directory in the store, with upper and work, and takes the lock.
  // Returns: a Failure, EEXIST when the name is taken.
  static ResultOrFailure<ContainerRecord> create(const Plan& plan);

  // `network`: what was made for the container, with the ports as they were chosen.
  StatusOrFailure set_running(pid_t pid, const image::ContainerNetworkState& network);
  // Requires: the daemon has ended.
  StatusOrFailure set_exited(int exit_status);
  StatusOrFailure remove();

  int lock_fd() const { return lock_.get(); }

 private:
  ContainerRecord(image::ContainerStore store, image::ContainerState state)
      : store_(std::move(store)), state_(std::move(state)) {}
  image::ContainerStore store_;
  image::ContainerState state_;
  UniqueFd lock_;
};

// The lock of a container whose launcher and daemon are gone. Empty when it still runs.
ResultOrFailure<std::optional<UniqueFd>> lock_stopped_container(const image::ContainerStore& store,
                                                                const std::string& name);

}  // namespace varve::launcher
