#include <algorithm>

#include "fs/fuse/mount_options.h"
#include "manual/completion.h"

namespace varve::manual {
namespace {

// In the spec of _arguments: ':' ends a part, ']' the explanation.
std::string in_spec(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == ':' || c == '[' || c == ']' || c == '\\') safe += '\\';
    safe += c;
  }
  return safe;
}

// ":FILE: _varve_values files"
std::string value_spec(const Argument& argument, const Command& command) {
  const std::string values = in_spec(in_words(values_of(argument, command)));
  return ":" + in_spec(argument.shape) + ":" + (values.empty() ? " " : " _varve_values " + values);
}

std::string option_specs(const Argument& option, const Command& command) {
  std::string all;  // its names, which exclude each other
  for (const std::string& name : option.names) all += (all.empty() ? "" : " ") + name;
  for (const std::string& name : option.excludes) all += " " + name;
  std::string text;
  for (const std::string& name : option.names) {
    std::string spec = option.repeated ? "*" : "(" + all + ")";
    spec += name;
    if (!option.shape.empty()) spec += name.starts_with("--") ? "=" : "+";
    spec += "[" + in_spec(brief(option.help)) + "]";
    if (!option.shape.empty()) spec += value_spec(option, command);
    text += "    " + quoted(spec) + " \\\n";
  }
  return text;
}

std::string positional_specs(const Command& command) {
  std::string text;
  std::size_t place = 1;
  for (const Argument& word : command.positionals) {
    const std::string where = word.repeated ? "*" : std::to_string(place++);
    text += "    " + quoted(where + value_spec(word, command)) + " \\\n";
  }
  return text;
}

std::string function_name(const std::string& program, const std::string& path) {
  std::string name = "_" + program + (path.empty() ? "" : "_") + path;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

std::string function_of(const std::string& program, const ShellCommand& one) {
  const Command& command = one.command;
  // What follows a command is read by that command's function, or is not ours.
  const bool ends_at_word = command.stops_at_words || !command.commands.empty();
  std::string text =
      function_name(program, one.path) + "() {\n  local curcontext=$curcontext state line ret=1\n";
  text += "  typeset -A opt_args\n";
  if (one.path.empty()) text += "  local varve_program=$words[1] varve_store=\n";
  text += std::string("  _arguments -s -S -C") + (ends_at_word ? " -A '-*'" : "") + " \\\n";
  for (const Argument& option : command.options) text += option_specs(option, command);
  if (command.commands.empty()) {
    return text + positional_specs(command) + "    && ret=0\n  return ret\n}\n\n";
  }
  text += "    '1:command:->command' \\\n    '*::argument:->argument' && ret=0\n";
  text +=
      "  varve_store=${opt_args[--store]:-$varve_store}\n  case $state in\n    command)\n      local -a "
      "commands=(\n";
  for (const Command& below : command.commands)
    text += "        " + quoted(last_word(below.name) + ":" + brief(below.summary)) + "\n";
  text +=
      "      )\n      _describe -t commands command commands && ret=0\n      ;;\n    argument)\n      case "
      "$line[1] in\n";
  for (const Command& below : command.commands) {
    const std::string word = last_word(below.name);
    const std::string path = one.path.empty() ? word : one.path + " " + word;
    text += "        " + word + ") " + function_name(program, path) + " && ret=0 ;;\n";
  }
  return text + "      esac\n      ;;\n  esac\n  return ret\n}\n\n";
}

std::string mount_options_function() {
  std::string text = "_varve_mount_options() {\n  _values -s , 'mount option' \\\n";
  for (const fuse::KnownMountOption& option : fuse::known_mount_options()) {
    if (option.has_no_effect) continue;
    std::string spec = option.name;
    if (!option.value_shape.empty()) {
      const std::string values = in_spec(in_words(values_of({.shape = option.value_shape}, {})));
      const bool is_list = option.value_shape.find(':') != std::string::npos;
      spec +=
          ":" + in_spec(option.value_shape) + ":" + (is_list ? "_varve_layers" : " _varve_values " + values);
    }
    text += "    " + quoted(spec) + " \\\n";
  }
  text.resize(text.size() - 3);
  return text + "\n}\n\n";
}

}  // namespace

std::string zsh_completion(const Command& program, const std::string& engine) {
  std::string text = "#compdef " + program.name + "\n# zsh completion of " + program.name +
                     ", made of what the program declares.\n\n" + engine + mount_options_function();
  for (const ShellCommand& one : flattened(program)) text += function_of(program.name, one);
  return text + "_" + program.name + " \"$@\"\n";
}

}  // namespace varve::manual
