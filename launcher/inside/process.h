#pragma once

// process: the last steps of the container's command: its terminal, its ids, its capabilities, its directory, and exec.
// Thread rule: one thread, in the process that becomes the command.

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/inside/user_lookup.h"
#include "launcher/plan.h"

namespace varve::launcher {

// Exit statuses of the launcher itself; podman-run(1), "Exit Status".
inline constexpr int kLauncherFailed = 125;
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;

struct StartFailure {
  Failure failure;
  int exit_status = kLauncherFailed;
};

struct CommandContext {
  const ProcessPlan& plan;
  const User& user;
  bool setgroups_denied = false;
  UniqueFd terminal;  // invalid: descriptors 0, 1 and 2 stay as they are
};

// Becomes the command. Only 0, 1 and 2 stay open over the exec. Returns only when it fails, with why.
StartFailure become_command(CommandContext context);

// For a map in which the process is not root from the start (keep-id, auto): root of the user namespace makes the container.
// What only the user outside may see is opened before.
StatusOrFailure become_root_inside();

// Where `program` is looked for, in this order: as it stands when it holds a '/', else in the directories of `path`.
std::vector<std::string> places_of_program(const std::string& program, const std::string& path);
// The first of them where it is found: as it stands when it holds a '/', else in the directories of `path`.
// Returns: ENOENT; EACCES when something of that name is there and none can be executed.
Result<std::string> find_program(const std::string& program, const std::string& path);

}  // namespace varve::launcher
