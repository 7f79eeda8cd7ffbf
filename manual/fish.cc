#include "fs/fuse/mount_options.h"
#include "manual/completion.h"

namespace varve::manual {
namespace {

// In single quotes fish takes a backslash before a quote or a backslash.
std::string fish_quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') safe += '\\';
    safe += c;
  }
  return safe + "'";
}

// " -x -a '...'", or what else tells fish where values come from.
std::string values_clause(const std::vector<Value>& values, const std::string& program) {
  std::string words;
  bool files = false;
  for (const Value& value : values) {
    switch (value.kind) {
      case Kind::kWord:
      case Kind::kBeginning:
        words += value.text + " ";
        break;
      case Kind::kFiles:
        files = true;
        break;
      case Kind::kDirectories:
        words += "(__fish_complete_directories) ";
        break;
      case Kind::kImages:
        words += "(__" + program + "_ask imagetool images --names) ";
        break;
      case Kind::kContainers:
        words += "(__" + program + "_ask varve ps -aq) ";
        break;
      case Kind::kRunning:
        words += "(__" + program + "_ask varve ps -q) ";
        break;
      case Kind::kJoined:
        words += "container:(__" + program + "_ask varve ps -q) ";
        break;
      case Kind::kVariables:
        words += "(set --names --export) ";
        break;
      case Kind::kMountOptions:
        words += "(__" + program + "_mount_options) ";
        break;
    }
  }
  if (!words.empty()) words.pop_back();
  return std::string(files ? " -F" : " -f") + (words.empty() ? "" : " -a " + fish_quoted(words));
}

std::string option_line(const Argument& option, const ShellCommand& one, const std::string& begin) {
  std::string line = begin;
  for (const std::string& name : option.names)
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  if (!option.shape.empty()) line += " -r" + values_clause(values_of(option, one.command), "PROGRAM");
  return line + " -d " + fish_quoted(brief(option.help)) + "\n";
}

std::string condition(const std::string& arguments) {
  return "complete -c PROGRAM -n " + fish_quoted("__PROGRAM_at " + arguments);
}

std::string lines_of(const ShellCommand& one) {
  const Command& command = one.command;
  std::string text;
  const std::string path = "\"" + one.path + "\"";
  const std::string begin = condition(path + (command.stops_at_words ? " 0" : ""));
  for (const Argument& option : command.options) text += option_line(option, one, begin);
  for (const Command& below : command.commands) {
    text += condition(path + " 0") + " -f -a " + last_word(below.name) + " -d " +
            fish_quoted(brief(below.summary)) + "\n";
  }
  for (std::size_t place = 0; place < command.positionals.size(); ++place) {
    const Argument& word = command.positionals[place];
    const std::vector<Value> values = values_of(word, command);
    if (values.empty()) continue;
    text += condition(path + " " + std::to_string(place) + (word.repeated ? " more" : "")) +
            values_clause(values, "PROGRAM") + "\n";
  }
  return text;
}

std::string mount_options_function() {
  std::string text =
      "function __PROGRAM_mount_options\n    set -l before (string replace --regex -- '[^,]*$' '' "
      "(commandline -ct))\n";
  text += "    printf '%s\\n' $before{";
  for (const fuse::KnownMountOption& option : fuse::known_mount_options()) {
    if (option.has_no_effect) continue;
    bool has_words = false;
    for (const Value& value : values_of({.shape = option.value_shape}, {})) {
      if (value.kind != Kind::kWord) continue;
      text += option.name + "=" + value.text + ",";
      has_words = true;
    }
    if (!has_words) text += option.name + (option.value_shape.empty() ? "," : "=,");
  }
  text.back() = '}';
  return text + "\nend\n\n";
}

// A function that prints, for each command, some words.
template <class Words>
std::string table(const std::string& name, const std::vector<ShellCommand>& commands, const Words& words_of) {
  std::string text = "function __PROGRAM_" + name + "\n    switch $argv[1]\n";
  for (const ShellCommand& one : commands) {
    const std::string words = words_of(one.command);
    if (!words.empty()) text += "        case " + fish_quoted(one.path) + "\n            " + words + "\n";
  }
  return text + "    end\nend\n\n";
}

std::string valued_options(const Command& command) {
  std::string words;
  for (const Argument& option : command.options) {
    if (option.shape.empty()) continue;
    for (const std::string& name : option.names) words += " " + name;
  }
  return words.empty() ? words : "printf '%s\\n'" + words;
}

std::string commands_below(const Command& command) {
  std::string words;
  for (const Command& below : command.commands) words += " " + last_word(below.name);
  return words.empty() ? words : "printf '%s\\n'" + words;
}

}  // namespace

std::string fish_completion(const Command& program, const std::string& engine) {
  const std::vector<ShellCommand> commands = flattened(program);
  std::string text = "# fish completion of PROGRAM, made of what the program declares.\n\n";
  text += table("valued", commands, valued_options) + table("commands", commands, commands_below);
  std::string stops = table("stops", commands, [](const Command& command) -> std::string {
    return command.stops_at_words ? "return 0" : "";
  });
  stops.insert(stops.rfind("end\n"), "    return 1\n");
  text += stops + engine + mount_options_function() + "complete -c PROGRAM -f\n";
  for (const ShellCommand& one : commands) text += lines_of(one);
  for (std::size_t at = text.find("PROGRAM"); at != std::string::npos; at = text.find("PROGRAM", at))
    text.replace(at, 7, program.name);
  return text;
}

}  // namespace varve::manual
