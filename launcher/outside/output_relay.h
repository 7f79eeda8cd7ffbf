#pragma once

// OutputRelay: the pipes that a detached container without a terminal writes into, and their way into its log.
// Thread rule: one thread, which polls; it never waits. Owned by the monitor.

#include <poll.h>

#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/outside/container_log.h"

namespace varve::launcher {

class OutputRelay {
 public:
  // `log` is borrowed and outlives it. Returns: a Failure when no pipes can be had.
  static ResultOrFailure<OutputRelay> make(ContainerLog& log);

  // What the container gets as its standard output and error; -1 after release_container_ends().
  int container_output() const { return container_output_.get(); }
  int container_error() const { return container_error_.get(); }
  // Once the container has them: our own hold would keep the pipes from ending.
  void release_container_ends();

  void add_to(std::vector<struct pollfd>& polled) const;
  void handle(const std::vector<struct pollfd>& polled);
  // After the container has ended: what is still in the pipes.
  void drain();

 private:
  explicit OutputRelay(ContainerLog& log) : log_(&log) {}
  // Returns: whether there may be more.
  bool copy(UniqueFd& from, LogStream stream);

  ContainerLog* log_;
  UniqueFd output_;
  UniqueFd error_;
  UniqueFd container_output_;
  UniqueFd container_error_;
};

}  // namespace varve::launcher
