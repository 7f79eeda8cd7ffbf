#pragma once

// The command line of varvefs: `varvefs [-f] [-d] [-o OPT[,OPT...]] [SOURCE] MOUNTPOINT` and the form that
// mount.fuse uses, `varvefs SOURCE MOUNTPOINT -o OPTS`. Plain values.

#include <functional>
#include <string>
#include <variant>

#include "fs/base/result.h"
#include "fs/fuse/mount_options.h"

namespace CLI {
class App;
}

namespace varve::daemon {

struct CommandLine {
  fuse::MountOptions options;
  std::string mount_point;
  std::string image;  // --image: the layers come from the store; empty: from lowerdir=
  std::string store;  // --store; empty: the default store
  bool foreground = false;
  bool debug = false;
  bool status = false;  // --status: tell of the mount at `mount_point`
  bool json = false;
};

// What the program should do: run, or exit at once with this status (help, version and usage errors were printed).
ResultOrFailure<std::variant<CommandLine, int>> parse_command_line(int argc, char** argv);

// Lets `look` see all that parse_command_line() reads, for the manual.
void describe_command_line(const std::function<void(CLI::App&)>& look);

}  // namespace varve::daemon
