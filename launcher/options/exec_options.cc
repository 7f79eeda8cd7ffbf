#include "launcher/options/exec_options.h"

#include "launcher/options/option_list.h"

namespace varve::launcher {

void declare_exec_options(OptionList& list, ExecOptions& options) {
  list.add_option("--store", options.store, "Image store", {.type = "DIR"});
  list.add_flag("-i,--interactive", options.interactive, "Pass standard input on (default: /dev/null)");
  list.add_flag("-t,--tty", options.terminal, "Give the command a terminal of its own");
  list.add_flag("-d,--detach", options.detached, "Do not wait for the command; its output goes to /dev/null");
  list.add_repeated("-e,--env", options.environment,
                    "NAME=VALUE besides the container's, or NAME to take the host's value",
                    {.type = "NAME[=VALUE]"});
  list.add_repeated("--env-file", options.environment_files, "File with a NAME=VALUE in each line",
                    {.type = "FILE"});
  list.add_option("-w,--workdir", options.working_directory, "Working directory (default: the container's)",
                  {.type = "PATH"});
  list.add_option("-u,--user", options.user,
                  "USER[:GROUP], names of the image or numbers (default: the container's)",
                  {.type = "USER[:GROUP]"});
}

}  // namespace varve::launcher
