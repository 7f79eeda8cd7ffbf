#pragma once

// What the command reads and writes, and where the output of a detached container is kept. Chosen before the container is made.
// Thread rule: one thread.

#include <memory>
#include <optional>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/outside/container_log.h"
#include "launcher/outside/output_relay.h"
#include "launcher/plan.h"

namespace varve::launcher {

struct KeptOutput {
  explicit KeptOutput(ContainerLog to) : log(std::move(to)) {}
  ContainerLog log;
  std::optional<OutputRelay> relay;  // without a terminal
};
// Null for a container that is not detached: its output is the launcher's own.
ResultOrFailure<std::unique_ptr<KeptOutput>> keep_output(const Plan& plan);

// Invalid and -1: as the launcher has it.
struct StandardStreams {
  UniqueFd input;
  UniqueFd held_input;  // the other end of `input`, which does not end while this is held
  int output = -1;      // borrowed
  int error = -1;

  // In the first process of the container: they become 0, 1 and 2.
  void take() const;
};
// Standard input is the launcher's own only when it was asked for; a detached container that wants one gets one that never says
// anything. `kept` may be null.
ResultOrFailure<StandardStreams> choose_streams(const Plan& plan, const KeptOutput* kept);

// The command has the launcher's own streams now; our own hold would keep the other ends from seeing them closed.
void let_go_of_input_and_output();

}  // namespace varve::launcher
