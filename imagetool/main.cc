// imagetool: builds layers, makes, shows, checks and commits images.

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "fs/base/log.h"
#include "imagetool/command_line.h"

namespace varve::imagetool {
namespace {

int run(int argc, char** argv) {
  Context context;
  CLI::App app;
  declare_command_line(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "imagetool: command line: %s (\"imagetool COMMAND --help\" tells more)\n",
                 error.what());
    return 2;
  }
  return context.exit_status;
}

}  // namespace
}  // namespace varve::imagetool

// One descriptor is open for each directory on the way down: trees are taken 2000 deep, the usual limit is 1024 (getrlimit(2)).
static void raise_descriptor_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t kWanted = 4096;
  if (limit.rlim_cur >= kWanted) return;
  limit.rlim_cur = std::min(limit.rlim_max, kWanted);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // what it does not allow is told when it is needed
}

int main(int argc, char** argv) {
  raise_descriptor_limit();
  // What is large goes back to the kernel when it is freed. By itself malloc would soon keep it: tables of a million files
  // that grow would leave behind a third of what they need. Source: mallopt(3), M_MMAP_THRESHOLD.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  varve::LogDestination log;
  log.program = "imagetool";
  varve::set_log_destination(log);
  varve::imagetool::install_interrupt_handlers();
  try {
    return varve::imagetool::run(argc, argv);
  } catch (const std::exception& error) {  // bad_alloc, or a bug
    std::fprintf(stderr, "imagetool: %s\n", error.what());
    return 1;
  }
}
