#include "manual/completion.h"

namespace varve::manual {
namespace {

void add(const Command& command, const std::string& path, std::vector<Argument> inherited,
         std::vector<ShellCommand>& to) {
  ShellCommand one{path, command};
  one.command.options.insert(one.command.options.end(), inherited.begin(), inherited.end());
  if (!command.passes_options_down) inherited.clear();
  for (const Argument& option : command.options) {
    const bool is_everywhere = option.names.back() == "--help" || option.names.back() == "--version";
    if (command.passes_options_down && !is_everywhere) inherited.push_back(option);
  }
  to.push_back(std::move(one));
  for (const Command& below : command.commands) {
    const std::string name = last_word(below.name);
    add(below, path.empty() ? name : path + " " + name, inherited, to);
  }
}

}  // namespace

std::vector<ShellCommand> flattened(const Command& program) {
  std::vector<ShellCommand> all;
  add(program, "", {}, all);
  return all;
}

std::string last_word(const std::string& name) {
  return name.substr(name.rfind(' ') + 1);
}

std::string in_words(const std::vector<Value>& values) {
  std::string text;
  for (const Value& value : values) {
    if (!text.empty()) text += ' ';
    switch (value.kind) {
      case Kind::kWord:
        text += "word." + value.text;
        break;
      case Kind::kBeginning:
        text += "begin." + value.text;
        break;
      case Kind::kFiles:
        text += "files";
        break;
      case Kind::kDirectories:
        text += "directories";
        break;
      case Kind::kImages:
        text += "images";
        break;
      case Kind::kContainers:
        text += "containers";
        break;
      case Kind::kRunning:
        text += "running";
        break;
      case Kind::kJoined:
        text += "joined";
        break;
      case Kind::kVariables:
        text += "variables";
        break;
      case Kind::kMountOptions:
        text += "mount_options";
        break;
    }
  }
  return text;
}

std::string brief(const std::string& help) {
  constexpr std::size_t kMost = 100;
  std::string text = help.substr(0, help.find(". "));
  if (text.size() > kMost) text = text.substr(0, text.find("; "));
  if (text.size() > kMost) text = text.substr(0, text.rfind(' ', kMost)) + " ...";
  return text;
}

std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return safe + "'";
}

}  // namespace varve::manual
