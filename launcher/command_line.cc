#include "launcher/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <optional>

#include "launcher/options/namespace_options.h"
#include "launcher/options/option_list.h"

namespace varve::launcher {
namespace {

constexpr const char* kOverview =
    R"(varve runs a command in a container made from an image, layers or a directory.

Usage:
  varve run [OPTIONS] IMAGE|ROOTFS-DIR [COMMAND [ARG...]]
  varve exec [OPTIONS] CONTAINER COMMAND [ARG...]
  varve ps [-a] [--json]            containers
  varve logs [-f] CONTAINER         what a detached one has said
  varve stop|kill CONTAINER...      ask them to end; send a signal
  varve pause|unpause CONTAINER...  let them stand still; let them go on
  varve inspect CONTAINER...        all that is known of some, as JSON
  varve stats [CONTAINER...]        memory, time, processes of running ones
  varve rm [-f] CONTAINER...        remove stopped ones with what was written in them
  varve prune                       remove all that do not run
  varve -h, --help | --version      varve COMMAND --help tells more

Example:
  varve run --rm -it debian bash
)";

constexpr const char* kRunExamples = R"(
Exit status: the command's; 128+n when signal n killed it; 125 the launcher failed, 126 the command is not executable,
127 it was not found; 2 wrong usage.

Examples:
  varve run --rm -it debian bash                      a shell in an image of the store
  varve run --rm --read-only -w /tmp ./rootfs ls -l   a command in a directory
  varve run --rm --layers app.layer:base.layer sh -c 'id; hostname'
  varve run --rm --network bridge -p 8080:80 web      its port 80 is the host's 8080
  varve run --rm -it --pid container:web --network container:web tools   looks at the processes and the network of web
  tar c . | varve run -i --name build debian tar x -C /srv
)";

// Colons of a path are escaped with '\', as in -o lowerdir= of varvefs.
std::vector<std::string> split_layers(const std::string& list) {
  std::vector<std::string> layers(1);
  for (std::size_t index = 0; index < list.size(); ++index) {
    if (list[index] == '\\' && index + 1 < list.size()) {
      layers.back() += list[++index];
    } else if (list[index] == ':') {
      layers.emplace_back();
    } else {
      layers.back() += list[index];
    }
  }
  layers.erase(std::remove(layers.begin(), layers.end(), std::string()), layers.end());
  return layers;
}

// What a command is given to read.
struct Words {
  const std::vector<std::string>& arguments;
  const CommandVisitor* visitor = nullptr;  // sees the command's options, and nothing is read
};

// Declares, for --help and the manual, words that CLI11 does not read since further options follow them.
using DeclareRest = void (*)(CLI::App&);

// CLI11 reports by exceptions; they end here. Returns: what to answer instead of going on, if anything.
std::optional<CommandLine> parse(CLI::App& app, const Words& words, DeclareRest declare_rest = nullptr) {
  if (words.visitor != nullptr) {
    if (declare_rest != nullptr) declare_rest(app);
    (*words.visitor)(app);
    return ShowText{};
  }
  std::vector<std::string> arguments = words.arguments;
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes a vector
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    if (declare_rest != nullptr) declare_rest(app);
    return ShowText{app.help()};
  } catch (const CLI::Error& error) {
    return WrongUsage{std::string("reading the command line: ") + error.what() + " (see " + app.get_name() +
                      " --help)"};
  }
  return std::nullopt;
}

struct RunWords {
  std::string layers;
  NamespaceOptions namespaces;
  std::string entrypoint;
  bool no_init = false;
  bool init = false;
  bool remove_afterwards = false;
};

void declare_container_options(OptionList& list, RunOptions& options, RunWords& words) {
  list.add_option("--store", options.store, "Image store (default: $VARVE_STORE, else the user's)",
                  {.type = "DIR"});
  list.add_option("--layers", words.layers, "Layer files or directories TOP:...:BOTTOM instead of an IMAGE",
                  {.type = "LAYER[:LAYER...]"});
  list.add_option("--upper", options.upper,
                  "Directory that takes what is written (default: the container's own)", {.type = "DIR"});
  list.add_option("--work", options.work, "Work directory beside --upper", {.type = "DIR"});
  list.add_flag("--read-only", options.read_only, "The root file system cannot be written");
  list.add_option("--name", options.name, "Name of the container (default: generated)", {.type = "NAME"});
  list.add_option("--hostname", options.hostname, "Host name inside (default: the container's name)",
                  {.type = "NAME"});
  list.add_flag("--rm", options.remove_afterwards, "Remove the container when it ends");
  declare_namespace_options(list, words.namespaces);
  list.add_flag("--dry-run", options.dry_run, "Print what would be done, and do nothing");
}

void declare_process_options(OptionList& list, RunOptions& options, RunWords& words) {
  list.add_flag("-i,--interactive", options.interactive, "Pass standard input on (default: /dev/null)");
  list.add_flag("-t,--tty", options.terminal, "Give the command a terminal of its own");
  list.add_flag("--init", words.init, "varve's init is process 1 (default)");
  list.add_flag("--no-init", words.no_init, "The command itself is process 1");
  list.add_repeated("-e,--env", options.environment,
                    "NAME=VALUE for the command, or NAME to take the host's value", {.type = "NAME[=VALUE]"});
  list.add_repeated("--env-file", options.environment_files, "File with a NAME=VALUE in each line",
                    {.type = "FILE"});
  list.add_option("-w,--workdir", options.working_directory, "Working directory", {.type = "PATH"});
  list.add_option("-u,--user", options.user, "USER[:GROUP], names of the image or numbers",
                  {.type = "USER[:GROUP]"});
  list.add_option("--entrypoint", words.entrypoint,
                  "Program, or JSON array, in place of the image's entrypoint", {.type = "COMMAND"});
  list.add_repeated("--cap-add", options.capabilities_added,
                    "Capability to give besides the default ones, or ALL", {.type = "CAPABILITY"});
  list.add_repeated("--cap-drop", options.capabilities_dropped, "Capability to take away, or ALL",
                    {.type = "CAPABILITY"});
  declare_security_options(list, options.security);
  declare_setting_options(list, options.settings);
}

// What CLI11 left over: words, or first an option that it does not know. "--" before them is taken away.
std::optional<WrongUsage> check_positionals(std::vector<std::string>& rest, const std::string& command) {
  if (!rest.empty() && rest[0] == "--") {
    rest.erase(rest.begin());
  } else if (!rest.empty() && rest[0].size() > 1 && rest[0][0] == '-') {
    return WrongUsage{"reading the command line: " + rest[0] + ": there is no such option (see varve " +
                      command + " --help)"};
  }
  return std::nullopt;
}

// IMAGE and the command.
std::optional<WrongUsage> take_positionals(std::vector<std::string> rest, RunOptions& options) {
  if (std::optional<WrongUsage> wrong = check_positionals(rest, "run")) return wrong;
  if (options.layers.empty()) {
    if (rest.empty()) {
      return WrongUsage{"reading the command line: no IMAGE or ROOTFS-DIR is given (see varve run --help)"};
    }
    options.image = rest[0];
    rest.erase(rest.begin());
  }
  if (options.layers.empty() && options.image.empty()) {
    return WrongUsage{"reading the command line: IMAGE is empty (see varve run --help)"};
  }
  options.arguments = std::move(rest);
  return std::nullopt;
}

void declare_run_rest(CLI::App& app) {
  app.add_option("IMAGE|ROOTFS-DIR")
      ->description("Image of the store, or directory; with --layers there is none");
  app.add_option("COMMAND")->description("Program to run in place of the image's command");
  app.add_option("ARG")->description("Its arguments")->expected(0, CLI::detail::expected_max_vector_size);
}

CommandLine parse_run(const Words& given) {
  RunOptions options;
  RunWords words;
  CLI::App app("Runs a command in a new container.", "varve run");
  app.footer(kRunExamples);
  app.prefix_command();  // what follows IMAGE belongs to the command
  OptionList list(app, given.arguments);
  declare_container_options(list, options, words);
  declare_process_options(list, options, words);
  declare_lifetime_options(list, options.lifetime);
  declare_mount_options(list, options.mounts);
  declare_id_options(list, options.ids);
  declare_limit_options(list, options.limits);
  declare_network_options(list, options.network);
  if (std::optional<CommandLine> answer = parse(app, given, declare_run_rest)) return *answer;

  options.layers = split_layers(words.layers);
  if (list.is_given("--layers") && options.layers.empty()) {
    return WrongUsage{"reading the command line: --layers: it names no layer (write TOP:...:BOTTOM)"};
  }
  if (words.init && words.no_init) {
    return WrongUsage{"reading the command line: --init and --no-init exclude each other (leave one out)"};
  }
  options.init = !words.no_init;
  if (list.is_given("--entrypoint")) options.entrypoint = words.entrypoint;
  ResultOrFailure<NamespaceChoice> chosen =
      choose_namespaces(words.namespaces, options.network.network, options.ids.user_namespace);
  if (!chosen.ok()) return WrongUsage{chosen.error().message};
  options.shared = chosen->shared;
  options.joined = std::move(chosen->joined);
  if (std::optional<WrongUsage> wrong = take_positionals(app.remaining(), options)) return *wrong;
  return options;
}

CommandLine parse_ps(const Words& given) {
  ListOptions options;
  CLI::App app("Lists containers: the running ones.", "varve ps");
  app.add_option("--store", options.store, "Image store")->type_name("DIR");
  app.add_flag("-a,--all", options.all, "Stopped ones too");
  CLI::Option* const json = app.add_flag("--json", options.json, "As JSON");
  app.add_flag("-q,--quiet", options.quiet, "Names only, one a line")->excludes(json);
  app.footer("\nExample:\n  varve ps -a\n  varve rm $(varve ps -aq)");
  if (std::optional<CommandLine> answer = parse(app, given)) return *answer;
  return options;
}

void declare_exec_rest(CLI::App& app) {
  app.add_option("CONTAINER")->description("Name of the container")->required();
  app.add_option("COMMAND")->description("Program in it to run")->required();
  app.add_option("ARG")->description("Its arguments")->expected(0, CLI::detail::expected_max_vector_size);
}

CommandLine parse_exec(const Words& given) {
  ExecOptions options;
  CLI::App app("Runs a further command in a container that runs.", "varve exec");
  app.footer(
      "\nExit status: as of varve run.\n\nExamples:\n  varve exec -it web sh\n  varve exec -u nobody web id");
  app.prefix_command();  // what follows CONTAINER belongs to the command
  OptionList list(app, given.arguments);
  declare_exec_options(list, options);
  if (std::optional<CommandLine> answer = parse(app, given, declare_exec_rest)) return *answer;
  std::vector<std::string> rest = app.remaining();
  if (std::optional<WrongUsage> wrong = check_positionals(rest, "exec")) return *wrong;
  if (rest.size() < 2) {
    return WrongUsage{"reading the command line: CONTAINER and COMMAND are needed (see varve exec --help)"};
  }
  options.container = rest[0];
  options.arguments.assign(rest.begin() + 1, rest.end());
  return options;
}

CommandLine parse_logs(const Words& given) {
  LogsOptions options;
  CLI::App app("Shows what a detached container has said.", "varve logs");
  app.add_option("--store", options.store, "Image store")->type_name("DIR");
  app.add_flag("-f,--follow", options.follow, "Go on until the container ends");
  app.add_flag("-t,--timestamps", options.timestamps, "With the time of each line");
  app.add_option("--tail", options.tail, "Only so many of the last lines")->type_name("LINES");
  app.add_option("CONTAINER", options.name, "Name of the container")->required();
  app.footer("\nExample:\n  varve logs -f --tail 20 web");
  if (std::optional<CommandLine> answer = parse(app, given)) return *answer;
  return options;
}

CommandLine parse_stats(const Words& given) {
  StatsOptions options;
  CLI::App app("Tells what running containers use, each second.", "varve stats");
  app.add_option("--store", options.store, "Image store")->type_name("DIR");
  app.add_flag("--no-stream", options.once, "Once");
  app.add_flag("--json", options.json, "As JSON");
  app.add_option("CONTAINER", options.names, "Names of containers (default: all that run)");
  app.footer("\nExample:\n  varve stats --no-stream build");
  if (std::optional<CommandLine> answer = parse(app, given)) return *answer;
  return options;
}

CommandLine parse_prune(const Words& given) {
  PruneOptions options;
  CLI::App app("Removes all containers that do not run, with all that was written in them.", "varve prune");
  app.add_option("--store", options.store, "Image store")->type_name("DIR");
  app.footer("\nExample:\n  varve prune");
  if (std::optional<CommandLine> answer = parse(app, given)) return *answer;
  return options;
}

// Commands that take names of containers; `more` declares further options, `with_all` gives --all in place of names.
template <class Options>
CommandLine parse_names(const Words& given, const char* name, const char* description,
                        const std::function<void(CLI::App&, Options&)>& more = {}) {
  Options options;
  CLI::App app(description, name);
  app.add_option("--store", options.store, "Image store")->type_name("DIR");
  app.add_option("CONTAINER", options.names, "Names of containers");
  if (more) more(app, options);
  app.footer(std::string("\nExample:\n  ") + name + " web");
  if (std::optional<CommandLine> answer = parse(app, given)) return *answer;
  bool is_all = false;
  if constexpr (requires { options.all; }) is_all = options.all;
  if (options.names.empty() != is_all) {
    return WrongUsage{
        "reading the command line: " +
        std::string(is_all ? "--all and names of containers exclude each other" : "no CONTAINER is given") +
        " (see " + name + " --help)"};
  }
  return options;
}

CommandLine parse_remove(const Words& given) {
  return parse_names<RemoveOptions>(
      given, "varve rm", "Removes stopped containers with all that was written in them.",
      [](CLI::App& app, RemoveOptions& options) {
        app.add_flag("-f,--force", options.force, "Running ones too: they are killed");
      });
}

CommandLine parse_stop(const Words& given) {
  return parse_names<StopOptions>(given, "varve stop", "Asks containers to end, and kills those that do not.",
                                  [](CLI::App& app, StopOptions& options) {
                                    app.add_option(
                                           "-t,--time", options.seconds,
                                           "Seconds to wait before killing (default: the container's, 10)")
                                        ->type_name("SECONDS");
                                    app.add_flag("-a,--all", options.all, "All that run");
                                  });
}

CommandLine parse_kill(const Words& given) {
  return parse_names<KillOptions>(
      given, "varve kill", "Sends a signal to the command of containers.",
      [](CLI::App& app, KillOptions& options) {
        app.add_option("-s,--signal", options.signal, "Name or number (default: KILL)")->type_name("SIGNAL");
        app.add_flag("-a,--all", options.all, "All that run");
      });
}

CommandLine parse_pause(const Words& given) {
  return parse_names<PauseOptions>(given, "varve pause", "Lets all processes of containers stand still.");
}

CommandLine parse_unpause(const Words& given) {
  return parse_names<UnpauseOptions>(given, "varve unpause", "Lets paused containers go on.");
}

CommandLine parse_inspect(const Words& given) {
  return parse_names<InspectOptions>(given, "varve inspect",
                                     "Tells all that is known of containers, as JSON.");
}

// Calls `with(name, what reads its words)` for each command, until it says true. Returns: whether it did. A row of calls and no
// table, which would be filled in at each start.
template <class With>
bool any_command(const With& with) {
  return with("run", parse_run) || with("exec", parse_exec) || with("ps", parse_ps) ||
         with("logs", parse_logs) || with("stop", parse_stop) || with("kill", parse_kill) ||
         with("pause", parse_pause) || with("unpause", parse_unpause) || with("inspect", parse_inspect) ||
         with("stats", parse_stats) || with("rm", parse_remove) || with("prune", parse_prune);
}

}  // namespace

void describe_commands(const CommandVisitor& visitor) {
  const std::vector<std::string> all = {"--help"};  // for which all options are declared
  any_command([&](const char*, CommandLine (*read)(const Words&)) {
    read({.arguments = all, .visitor = &visitor});
    return false;
  });
}

CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  std::optional<CommandLine> line;
  any_command([&](std::string_view name, CommandLine (*read)(const Words&)) {
    if (name != command) return false;
    line = read({.arguments = rest});
    return true;
  });
  if (line) return *std::move(line);
  if (command == "--help" || command == "-h" || command == "help") return ShowText{kOverview};
  if (command == "--version") return ShowText{std::string("varve ") + VARVE_VERSION + "\n"};
  if (command.empty()) return WrongUsage{"reading the command line: no command is given (see varve --help)"};
  return WrongUsage{"reading the command line: " + command + ": there is no such command (see varve --help)"};
}

}  // namespace varve::launcher
