#include "launcher/options/exec_options.h"

#include <CLI/CLI.hpp>

#include "launcher/options/repeated.h"

namespace varve::launcher {

void declare_exec_options(CLI::App& app, ExecOptions& options) {
  app.add_option("--store", options.store, "Image store");
  app.add_flag("-i,--interactive", options.interactive, "Pass standard input on (default: /dev/null)");
  app.add_flag("-t,--tty", options.terminal, "Give the command a terminal of its own");
  app.add_flag("-d,--detach", options.detached, "Do not wait for the command; its output goes to /dev/null");
  add_repeated(app, "-e,--env", options.environment,
               "NAME=VALUE besides the container's, or NAME to take the host's value");
  add_repeated(app, "--env-file", options.environment_files, "File with a NAME=VALUE in each line");
  app.add_option("-w,--workdir", options.working_directory, "Working directory (default: the container's)");
  app.add_option("-u,--user", options.user,
                 "USER[:GROUP], names of the image or numbers (default: the container's)");
}

}  // namespace varve::launcher
