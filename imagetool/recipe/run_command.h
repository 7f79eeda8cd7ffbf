#pragma once

// A command in a stage: `varve run` over the stage's layers, what it writes in an upper of its own. Thread rule: the main thread.
// No process is left when these return: the launcher is told to end, and killed when it does not; it takes its container with it.

#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/source/tree_source.h"

namespace varve::recipe {

struct RunRequest {
  std::string launcher;  // the program `varve`
  std::string store_directory;
  std::vector<std::string> layer_paths;  // bottom first; at least one
  std::string upper, work;               // empty directories; without them nothing is written
  std::string network;                   // as --network of `varve run`
  std::vector<std::string> environment;  // "NAME=VALUE"
  std::string user, working_directory;   // empty: root, "/"
  std::string script;  // a file of the host that the command finds as kScriptPath; empty: none
  std::vector<std::string> command;
  bool quiet = false;  // its output is thrown away
};
inline constexpr const char* kScriptPath = "/dev/varve-script";

// Beside this program, else in PATH; $VARVE_LAUNCHER stands before both. Returns: ENOENT.
ResultOrFailure<std::string> find_launcher();

// The command's standard output and error go to standard error. Returns: its exit status, as `varve run` gives it; ECANCELED when
// the monitor said so.
ResultOrFailure<int> run_in_stage(const RunRequest& request, const image::Monitor& monitor);

// What --network means when it was not given: for root "bridge", for ordinary users "pasta", and "host" where that cannot be had. Which
// is tried over the layers of `request`, with a program that they do not have.
ResultOrFailure<std::string> choose_network(RunRequest request, const image::Monitor& monitor);

}  // namespace varve::recipe
