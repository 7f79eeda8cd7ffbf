#pragma once

// ExecOptions: what a person typed after `varve exec`. A plain value.

#include <string>
#include <vector>

namespace varve::launcher {

class OptionList;

struct ExecOptions {
  std::string store;
  std::string container;
  std::vector<std::string> arguments;  // COMMAND [ARG...]
  bool interactive = false;
  bool terminal = false;
  bool detached = false;
  std::vector<std::string> environment;
  std::vector<std::string> environment_files;
  std::string working_directory;
  std::string user;
};

// Makes `app` understand them; CONTAINER and the command are what is left over. `options` outlives it.
void declare_exec_options(OptionList& list, ExecOptions& options);

}  // namespace varve::launcher
