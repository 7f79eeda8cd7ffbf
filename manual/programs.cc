#include "manual/programs.h"

#include <variant>

#include "fs/daemon/command_line.h"
#include "imagetool/command_line.h"
#include "launcher/command_line.h"

namespace varve::manual {
namespace {

Command describe_imagetool() {
  imagetool::Context context;
  CLI::App app;
  imagetool::declare_command_line(app, context);
  return describe(app);
}

// varve has no tree: each command is parsed by itself, and the overview is a text.
Command describe_varve() {
  const launcher::CommandLine help = launcher::parse_command_line({"--help"});
  const std::string& overview = std::get<launcher::ShowText>(help).text;
  Command varve;
  varve.name = "varve";
  varve.summary = overview.substr(overview.find(' ') + 1, overview.find(".\n") - overview.find(' ') - 1);
  varve.footer = overview.substr(overview.find("Example:"));
  varve.options = {{.names = {"-h", "--help"}, .help = "Print an overview of the commands and exit"},
                   {.names = {"--version"}, .help = "Display program version information and exit"}};
  launcher::describe_commands([&varve](CLI::App& app) { varve.commands.push_back(describe(app)); });
  return varve;
}

Command describe_varvefs() {
  Command varvefs;
  daemon::describe_command_line([&varvefs](CLI::App& app) { varvefs = describe(app); });
  varvefs.summary = "mount a stack of layers as a union file system";
  varvefs.footer.clear();  // its help says in short what the page says in full
  return varvefs;
}

}  // namespace

std::vector<Command> all_programs() {
  return {describe_imagetool(), describe_varve(), describe_varvefs()};
}

}  // namespace varve::manual
