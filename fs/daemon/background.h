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
  // of the start); the child returns. `log_file` is opened here, before anything is mounted: opening a path that leads into the
  // mount would wait for an answer that only this process can give.
  static ResultOrFailure<Background> start(const std::string& mount_point, const std::string& log_file);
  // Tells the waiting parent that the mount answers; standard input, output and error become /dev/null, and the log
  // goes to the log file, or to syslog when there is none.
  void ready();

 private:
  Background(UniqueFd pipe, UniqueFd log) : pipe_(std::move(pipe)), log_(std::move(log)) {}
  UniqueFd pipe_;
  UniqueFd log_;
};

}  // namespace varve::daemon
