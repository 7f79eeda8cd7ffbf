#pragma once

// Standstill: an upper that is in use changes no more, until this object goes: the processes of its container are paused where they
// have a control group that can be frozen, what they have written through mappings is written out, and its daemon is stopped. A
// child of ours lets all go on when we are killed meanwhile.
// Thread rule: one thread, before others are started.

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/store/container_state.h"

namespace varve::imagetool {

// Who has locked the directory with flock(2), as /proc/locks tells; empty when nobody has.
std::optional<pid_t> locker_of(const std::string& directory);

class Standstill {
 public:
  // `container`: whose upper it is; null: a mount without one. Returns: a Failure when the daemon cannot be found or stopped.
  static ResultOrFailure<std::unique_ptr<Standstill>> begin(const std::string& upper,
                                                            const std::string& store_directory,
                                                            const image::ContainerState* container);
  ~Standstill();
  Standstill(const Standstill&) = delete;
  Standstill& operator=(const Standstill&) = delete;

 private:
  Standstill() = default;
  // Two at once: the first one's end would let go on what the second copies. They take turns, by a lock on the daemon's directory in /proc.
  StatusOrFailure wait_for_others();
  StatusOrFailure pause(const std::string& store_directory, const image::ContainerState& container);
  StatusOrFailure start_guard();
  StatusOrFailure stop_daemon();

  UniqueFd turn_;    // locked
  UniqueFd daemon_;  // pidfd
  pid_t daemon_pid_ = 0;
  std::string launcher_;  // of the container that is to go on; empty: none
  std::string store_;
  std::string container_;
  pid_t guard_ = -1;
  UniqueFd guard_line_;  // the guard acts when this end is closed without a word
};

}  // namespace varve::imagetool
