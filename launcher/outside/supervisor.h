#pragma once

// Supervisor: serves one container from its go to its end, or one command in it (varve exec): what it says over the control
// channel, its terminal and kept output, signals for it, its file system daemon, its time limit.
// Thread rule: one thread, which polls. Owns the descriptors it is given; the rest is borrowed and outlives it.

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/kernel/control_channel.h"
#include "launcher/network/container_network.h"
#include "launcher/outside/container_log.h"
#include "launcher/outside/container_record.h"
#include "launcher/outside/daemon.h"
#include "launcher/outside/output_relay.h"
#include "launcher/outside/terminal_relay.h"
#include "launcher/plan.h"

namespace varve::launcher {

struct Outcome {
  int exit_status = 0;  // what the launcher exits with
  Failure failure;      // why, when the launcher itself failed; its message is empty otherwise
};

// The first process of a container, or a command in it: a child of this process, not yet waited for.
struct SupervisedProcess {
  pid_t pid = 0;
  UniqueFd process;  // pidfd
};

class Supervisor {
 public:
  // `record`, `output` and `log` may be null; they are borrowed and outlive it.
  struct Surroundings {
    ContainerRecord* record = nullptr;
    OutputRelay* output = nullptr;  // of a detached container without a terminal
    ContainerLog* log = nullptr;    // of a detached container
    const std::function<bool()>& on_started;
    std::function<void()> on_ended =
        {};  // called when no process of the container is left; its daemon may still be at work
  };
  Supervisor(const Plan& plan, SupervisedProcess container, ControlChannel channel, UniqueFd signals,
             const Surroundings& surroundings)
      : plan_(plan),
        container_(std::move(container)),
        channel_(std::move(channel)),
        signals_(std::move(signals)),
        surroundings_(surroundings) {}

  // Watched from now on. The daemon waits for its device.
  void hold_daemon(Daemon daemon) { daemon_.emplace(std::move(daemon)); }
  void hold_network(ContainerNetwork network) { network_.emplace(std::move(network)); }
  // Returns when the container and its daemon have ended.
  Outcome serve();

 private:
  void handle_message();
  void handle_command(pid_t command);
  void handle_start();
  void handle_signal();
  void handle_daemon();
  void handle_network();
  void handle_lost_daemon(int exit_status);
  void fail(int exit_status, Failure failure);
  void poll_once();
  // Of the wait for the next event; kills the container when its time is over.
  int remaining_ms();
  bool has_ended(int timeout_ms = 0) const;
  int reap();
  void finish_daemon();
  bool started() const { return channel_.fd() < 0; }

  const Plan& plan_;
  SupervisedProcess container_;
  ControlChannel channel_;  // closed once the command runs
  UniqueFd signals_;
  Surroundings surroundings_;
  std::optional<Daemon> daemon_;
  std::optional<ContainerNetwork> network_;
  std::unique_ptr<TerminalRelay> terminal_;
  std::optional<Outcome> failed_;
  std::optional<std::chrono::steady_clock::time_point>
      deadline_;               // of the plan's timeout, once it has started
  bool asked_to_end_ = false;  // by SIGTERM
  bool keeper_is_lost_ = false;
  bool ended_ = false;
};

// All signals but those that tell of a fault are blocked from now on and come to this descriptor. Before the first fork.
ResultOrFailure<UniqueFd> catch_signals();

}  // namespace varve::launcher
