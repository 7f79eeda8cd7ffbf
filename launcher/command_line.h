#pragma once

// command_line: from argv to what a person wants, as podman spells it where podman has it. An option that is not
// implemented is unknown, never ignored. Thread rule: stateless.

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "fs/base/result.h"
#include "launcher/commands/containers.h"
#include "launcher/commands/logs.h"
#include "launcher/commands/pause.h"
#include "launcher/commands/stats.h"
#include "launcher/commands/stop.h"
#include "launcher/options/exec_options.h"
#include "launcher/run_options.h"

namespace CLI {
class App;
}

namespace varve::launcher {

struct InspectOptions {
  std::string store;
  std::vector<std::string> names;
};
struct PruneOptions {
  std::string store;
};
// --help or --version was asked for: `text` is the answer.
struct ShowText {
  std::string text;
};
// The command line is wrong: `text` says how.
struct WrongUsage {
  std::string text;
};

using CommandLine = std::variant<RunOptions, ExecOptions, ListOptions, LogsOptions, StopOptions, KillOptions,
                                 PauseOptions, UnpauseOptions, InspectOptions, RemoveOptions, PruneOptions,
                                 StatsOptions, ShowText, WrongUsage>;

// `arguments`: without the program's name.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

// Lets `visitor` see each command with all that it understands, named "varve COMMAND", for the manual.
using CommandVisitor = std::function<void(CLI::App&)>;
void describe_commands(const CommandVisitor& visitor);

}  // namespace varve::launcher
