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
  varve --help | --version          varve COMMAND --help tells more

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

// CLI11 reports by exceptions; they end here. Returns: what to answer instead of going on, if anything.
std::optional<CommandLine> parse(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes a vector
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
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
  list.add_option("--store", options.store, "Image store (default: $VARVE_STORE, else the user's)");
  list.add_option("--layers", words.layers, "Layer files or directories TOP:...:BOTTOM instead of an IMAGE");
  list.add_option("--upper", options.upper,
                  "Directory that takes what is written (default: the container's own)");
  list.add_option("--work", options.work, "Work directory beside --upper");
  list.add_flag("--read-only", options.read_only, "The root file system cannot be written");
  list.add_option("--name", options.name, "Name of the container (default: generated)");
  list.add_option("--hostname", options.hostname, "Host name inside (default: the container's name)");
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
                    "NAME=VALUE for the command, or NAME to take the host's value");
  list.add_repeated("--env-file", options.environment_files, "File with a NAME=VALUE in each line");
  list.add_option("-w,--workdir", options.working_directory, "Working directory");
  list.add_option("-u,--user", options.user, "USER[:GROUP], names of the image or numbers");
  list.add_option("--entrypoint", words.entrypoint,
                  "Program, or JSON array, in place of the image's entrypoint");
  list.add_repeated("--cap-add", options.capabilities_added,
                    "Capability to give besides the default ones, or ALL");
  list.add_repeated("--cap-drop", options.capabilities_dropped, "Capability to take away, or ALL");
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

CommandLine parse_run(const std::vector<std::string>& arguments) {
  RunOptions options;
  RunWords words;
  CLI::App app("Runs a command in a new container.", "varve run");
  app.footer(kRunExamples);
  app.prefix_command();  // what follows IMAGE belongs to the command
  OptionList list(app, arguments);
  declare_container_options(list, options, words);
  declare_process_options(list, options, words);
  declare_lifetime_options(list, options.lifetime);
  declare_mount_options(list, options.mounts);
  declare_id_options(list, options.ids);
  declare_limit_options(list, options.limits);
  declare_network_options(list, options.network);
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;

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

CommandLine parse_ps(const std::vector<std::string>& arguments) {
  ListOptions options;
  CLI::App app("Lists containers: the running ones.", "varve ps");
  app.add_option("--store", options.store, "Image store");
  app.add_flag("-a,--all", options.all, "Stopped ones too");
  app.add_flag("--json", options.json, "As JSON");
  app.footer("\nExample:\n  varve ps -a");
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
  return options;
}

CommandLine parse_exec(const std::vector<std::string>& arguments) {
  ExecOptions options;
  CLI::App app("Runs a further command in a container that runs.", "varve exec");
  app.footer(
      "\nExit status: as of varve run.\n\nExamples:\n  varve exec -it web sh\n  varve exec -u nobody web id");
  app.prefix_command();  // what follows CONTAINER belongs to the command
  OptionList list(app, arguments);
  declare_exec_options(list, options);
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
  std::vector<std::string> rest = app.remaining();
  if (std::optional<WrongUsage> wrong = check_positionals(rest, "exec")) return *wrong;
  if (rest.size() < 2) {
    return WrongUsage{"reading the command line: CONTAINER and COMMAND are needed (see varve exec --help)"};
  }
  options.container = rest[0];
  options.arguments.assign(rest.begin() + 1, rest.end());
  return options;
}

CommandLine parse_logs(const std::vector<std::string>& arguments) {
  LogsOptions options;
  CLI::App app("Shows what a detached container has said.", "varve logs");
  app.add_option("--store", options.store, "Image store");
  app.add_flag("-f,--follow", options.follow, "Go on until the container ends");
  app.add_flag("-t,--timestamps", options.timestamps, "With the time of each line");
  app.add_option("--tail", options.tail, "Only so many of the last lines");
  app.add_option("CONTAINER", options.name, "Name of the container")->required();
  app.footer("\nExample:\n  varve logs -f --tail 20 web");
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
  return options;
}

CommandLine parse_stats(const std::vector<std::string>& arguments) {
  StatsOptions options;
  CLI::App app("Tells what running containers use, each second.", "varve stats");
  app.add_option("--store", options.store, "Image store");
  app.add_flag("--no-stream", options.once, "Once");
  app.add_flag("--json", options.json, "As JSON");
  app.add_option("CONTAINER", options.names, "Names of containers (default: all that run)");
  app.footer("\nExample:\n  varve stats --no-stream build");
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
  return options;
}

CommandLine parse_prune(const std::vector<std::string>& arguments) {
  PruneOptions options;
  CLI::App app("Removes all containers that do not run, with all that was written in them.", "varve prune");
  app.add_option("--store", options.store, "Image store");
  app.footer("\nExample:\n  varve prune");
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
  return options;
}

// Commands that take names of containers; `more` declares further options, `with_all` gives --all in place of names.
template <class Options>
CommandLine parse_names(const std::vector<std::string>& arguments, const char* name, const char* description,
                        const std::function<void(CLI::App&, Options&)>& more = {}) {
  Options options;
  CLI::App app(description, name);
  app.add_option("--store", options.store, "Image store");
  app.add_option("CONTAINER", options.names, "Names of containers");
  if (more) more(app, options);
  app.footer(std::string("\nExample:\n  ") + name + " web");
  if (std::optional<CommandLine> answer = parse(app, arguments)) return *answer;
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

CommandLine parse_remove(const std::vector<std::string>& arguments) {
  return parse_names<RemoveOptions>(
      arguments, "varve rm", "Removes stopped containers with all that was written in them.",
      [](CLI::App& app, RemoveOptions& options) {
        app.add_flag("-f,--force", options.force, "Running ones too: they are killed");
      });
}

CommandLine parse_stop(const std::vector<std::string>& arguments) {
  return parse_names<StopOptions>(
      arguments, "varve stop", "Asks containers to end, and kills those that do not.",
      [](CLI::App& app, StopOptions& options) {
        app.add_option("-t,--time", options.seconds,
                       "Seconds to wait before killing (default: the container's, 10)");
        app.add_flag("-a,--all", options.all, "All that run");
      });
}

CommandLine parse_kill(const std::vector<std::string>& arguments) {
  return parse_names<KillOptions>(arguments, "varve kill", "Sends a signal to the command of containers.",
                                  [](CLI::App& app, KillOptions& options) {
                                    app.add_option("-s,--signal", options.signal,
                                                   "Name or number (default: KILL)");
                                    app.add_flag("-a,--all", options.all, "All that run");
                                  });
}

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (command == "run") return parse_run(rest);
  if (command == "ps") return parse_ps(rest);
  if (command == "exec") return parse_exec(rest);
  if (command == "logs") return parse_logs(rest);
  if (command == "stop") return parse_stop(rest);
  if (command == "kill") return parse_kill(rest);
  if (command == "pause") {
    return parse_names<PauseOptions>(rest, "varve pause", "Lets all processes of containers stand still.");
  }
  if (command == "unpause") {
    return parse_names<UnpauseOptions>(rest, "varve unpause", "Lets paused containers go on.");
  }
  if (command == "rm") return parse_remove(rest);
  if (command == "prune") return parse_prune(rest);
  if (command == "stats") return parse_stats(rest);
  if (command == "inspect") {
    return parse_names<InspectOptions>(rest, "varve inspect",
                                       "Tells all that is known of containers, as JSON.");
  }
  if (command == "--help" || command == "-h" || command == "help") return ShowText{kOverview};
  if (command == "--version") return ShowText{std::string("varve ") + VARVE_VERSION + "\n"};
  if (command.empty()) return WrongUsage{"reading the command line: no command is given (see varve --help)"};
  return WrongUsage{"reading the command line: " + command + ": there is no such command (see varve --help)"};
}

}  // namespace varve::launcher
