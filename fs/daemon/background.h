#pragma once

// Background: lets a command return only once the mount answers, while a child of it serves. On failure the child's
// message has been printed and the command exits 1 with nothing mounted.
// Thread rule: used before the first thread is started; ready() may be called from any thread.

#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"

namespace varve::daemon {

class Background {
 public:
  // Forks. The parent waits for ready(), has a look at the mount point, and never returns (it exits with the status
  // of the start); the child returns.
  static ResultOrFailure<Background> start(const std::string& mount_point);
  // Tells the waiting parent that the mount answers; standard input, output and error become /dev/null, and the log
  // goes to `log_file`, or to syslog when that is empty.
  void ready(const std::string& log_file);

 private:
  explicit Background(UniqueFd pipe) : pipe_(std::move(pipe)) {}
  UniqueFd pipe_;
};

}  // namespace varve::daemon
