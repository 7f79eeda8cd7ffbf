#pragma once

// Daemon: the varvefs process that serves a container's root. It runs outside the container's namespaces and holds
// the only descriptor of the FUSE connection, so that it ends by itself when the container's mount namespace is gone.
// It is started before there is a container, so that it opens layers and upper while that one's namespaces are made; the
// descriptor of the mount follows.
// Thread rule: one thread. Owned by the launcher's execute(); the process is not killed when a Daemon is destroyed,
// because it still has to write out what the container wrote.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/image_root.h"
#include "launcher/kernel/control_channel.h"

namespace varve::launcher {

// A path as a value of -o lowerdir=...: what would end it is escaped with a backslash.
std::string escape_mount_path(const std::string& path);

// "lowerdir=A:B[,upperdir=U,workdir=W[,xattr_permissions=2][,fsync=never] | ,ro]"
std::string daemon_options(const RootPlan& root);

struct DaemonSurroundings {
  int lock_fd = -1;  // borrowed; stays open in the daemon as long as it lives
  // The daemon makes a user namespace of its own, in which the user is root and nobody else is. For an ordinary user's
  // container: ids of the FUSE connection are those inside anyway, and the upper's own directory shows as root's. Owners are
  // kept in extended attributes (docs/decisions/0011, 0015), so everything in the upper belongs to the user.
  bool own_user_namespace = false;
};

class Daemon {
 public:
  // Starts `program -f -o OPTIONS /dev/fd/3`. When it cannot be executed it ends with 127 and has said why.
  static ResultOrFailure<Daemon> start(const std::string& program, const RootPlan& root,
                                       const DaemonSurroundings& surroundings);
  // `device`: /dev/fuse, mounted. Of a daemon that has ended already, wait() tells. Requires: called once.
  void give_device(UniqueFd device);
  // For a container that will not come to its mount: the daemon ends without having served anything, and this returns then.
  void call_off();
  // Whether it has, or had, a mount to serve.
  bool has_device() const { return has_device_; }

  // Readable once the process has ended.
  int process_fd() const { return process_.get(); }
  // Readable when the daemon has said something; -1 once it has closed.
  int output_fd() const { return output_.get(); }

  // Takes in what it has said, without waiting.
  void read_output();
  // What it has said since the last call.
  std::string take_output() { return std::exchange(said_, {}); }

  // Waits up to `timeout_ms` for its end. Returns: its exit status (128 + n for signal n), empty when it still runs.
  std::optional<int> wait(int timeout_ms);
  // Whether wait() has seen its end.
  bool has_ended() const { return exit_status_.has_value(); }

 private:
  Daemon(pid_t pid, UniqueFd process, UniqueFd output, ControlChannel channel)
      : pid_(pid), process_(std::move(process)), output_(std::move(output)), channel_(std::move(channel)) {}
  pid_t pid_;
  UniqueFd process_;
  UniqueFd output_;
  ControlChannel channel_;  // closed once the device is on its way
  bool has_device_ = false;
  std::string said_;
  std::optional<int> exit_status_;
};

}  // namespace varve::launcher
