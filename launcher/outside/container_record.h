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
#include "launcher/kernel/process_identity.h"
#include "launcher/plan.h"

namespace varve::launcher {

class ContainerRecord {
 public:
  // Makes the container's directory in the store, with upper and work, and takes the lock.
  // Returns: a Failure, EEXIST when the name is taken.
  static ResultOrFailure<ContainerRecord> create(const Plan& plan);

  // `first`: the container's first process, `command`: its command, which is the same without an init.
  StatusOrFailure set_running(const ProcessIdentity& first, const ProcessIdentity& command);
  // Requires: the daemon has ended.
  StatusOrFailure set_exited(int exit_status);
  // What was made for the container, with the ports as they were chosen. Kept with set_running().
  void note_network(image::ContainerNetworkState network);
  // Kept with set_exited().
  void note_oom_kill(bool killed) { state_.oom_killed = killed; }
  StatusOrFailure remove();

  int lock_fd() const { return lock_.get(); }

 private:
  ContainerRecord(image::ContainerStore store, image::ContainerState state)
      : store_(std::move(store)), state_(std::move(state)) {}
  image::ContainerStore store_;
  image::ContainerState state_;
  UniqueFd lock_;
};

}  // namespace varve::launcher
