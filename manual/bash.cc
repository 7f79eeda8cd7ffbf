#include "fs/fuse/mount_options.h"
#include "manual/completion.h"

namespace varve::manual {
namespace {

std::string names_of(const std::vector<Argument>& options, bool with_value) {
  std::string text;
  for (const Argument& option : options) {
    if (option.shape.empty() == with_value) continue;
    for (const std::string& name : option.names) text += (text.empty() ? "" : " ") + name;
  }
  return text;
}

std::string case_of(const ShellCommand& one) {
  const Command& command = one.command;
  std::string text = "    " + quoted(one.path) + ")\n";
  if (!command.commands.empty()) {
    text += "      commands='";
    for (const Command& below : command.commands) text += last_word(below.name) + " ";
    text.back() = '\'';
    text += "\n";
  }
  text += "      flags=" + quoted(names_of(command.options, false)) + "\n";
  text += "      valued=" + quoted(names_of(command.options, true)) + "\n";
  if (command.stops_at_words) text += "      stops=1\n";
  for (const Argument& option : command.options) {
    const std::string values = in_words(values_of(option, command));
    if (option.shape.empty() || values.empty()) continue;
    for (const std::string& name : option.names)
      text += "      values[" + name + "]=" + quoted(values) + "\n";
  }
  if (!command.positionals.empty()) {
    text += "      words=(";
    for (const Argument& word : command.positionals) {
      text += (text.ends_with('(') ? "" : " ") + quoted(in_words(values_of(word, command)));
    }
    text += ")\n";
    if (command.positionals.back().repeated) text += "      repeats=1\n";
  }
  return text + "      ;;\n";
}

std::string mount_option_table() {
  std::string text = "__varve_mount_option_table() {\n";
  for (const fuse::KnownMountOption& option : fuse::known_mount_options()) {
    if (option.has_no_effect) continue;
    const std::string values = in_words(values_of({.shape = option.value_shape}, {}));
    text += "  mount_options[" + option.name + (option.value_shape.empty() ? "" : "=") +
            "]=" + quoted(values) + "\n";
  }
  return text + "}\n";
}

}  // namespace

std::string bash_completion(const Command& program, const std::string& engine) {
  std::string text = "# bash completion of " + program.name + ", made of what the program declares.\n\n";
  text += "__" + program.name + "_command() {\n  case $1 in\n";
  for (const ShellCommand& one : flattened(program)) text += case_of(one);
  text += "  esac\n}\n\n" + mount_option_table() + "\n" + engine;
  return text + "_" + program.name + "() { __varve_complete " + program.name + "; }\ncomplete -F _" +
         program.name + " " + program.name + "\n";
}

}  // namespace varve::manual
