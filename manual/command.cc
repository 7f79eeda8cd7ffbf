#include "manual/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

namespace varve::manual {
namespace {

std::string without_full_stop(std::string text) {
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::vector<std::string> names_of(const std::set<CLI::Option*>& options) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options) names.push_back(option->get_name(option->get_positional()));
  return names;
}

// CLI11 has no other way to ask how many validators there are.
CLI::Validator* validator_at(CLI::Option& option, int index) {
  try {
    return option.get_validator(index);
  } catch (const CLI::OptionNotFound&) {
    return nullptr;
  }
}

// What CLI11 appends to the name of the type: "{a,b}" of IsMember, "INT in [1 - 19]" of Range, "SIZE [b, ...]" of AsSizeValue.
void read_validators(CLI::Option& option, Argument& argument, std::string& type) {
  std::string descriptions;
  for (int index = 0; const CLI::Validator* validator = validator_at(option, index); ++index) {
    const std::string description = validator->get_description();
    if (description.empty()) continue;
    descriptions += ":" + description;
    const std::size_t range = description.find(" in [");
    if (description.starts_with('{')) {
      argument.choices = split(description.substr(1, description.size() - 2), ',');
    } else if (range != std::string::npos && description.ends_with(']')) {
      argument.range = description.substr(range + 5, description.size() - range - 6);
      const std::size_t dash = argument.range.find(" - ");
      if (dash != std::string::npos) argument.range.replace(dash, 3, " to ");
    }
  }
  if (type.ends_with(descriptions)) type.resize(type.size() - descriptions.size());
  if (descriptions.starts_with(":SIZE")) type = "SIZE";
}

std::string shape_of(const Argument& argument, const std::string& type) {
  if (!argument.choices.empty()) return joined(argument.choices, "|");
  if (type == "BOOLEAN") return "true|false";
  if (type == "INT" || type == "UINT" || type == "FLOAT") return "NUMBER";
  return type;
}

Argument describe(CLI::Option& option) {
  Argument argument;
  for (const std::string& name : option.get_snames()) argument.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) argument.names.push_back("--" + name);
  const bool is_positional = argument.names.empty();
  if (is_positional) argument.names = {option.get_name(true)};
  argument.help = option.get_description();
  argument.group = option.get_group() == "Options" ? "" : option.get_group();
  argument.default_value = option.get_default_str();
  argument.needs = names_of(option.get_needs());
  argument.excludes = names_of(option.get_excludes());
  argument.required = option.get_required();
  argument.repeated =
      option.get_expected_max() > 1 || option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  if (option.get_items_expected_max() == 0) return argument;  // a flag
  std::string type = option.get_type_name();
  read_validators(option, argument, type);
  argument.shape = shape_of(argument, type);
  if (argument.shape.empty() || argument.shape == "TEXT") {
    argument.shape = is_positional ? argument.names[0] : "TEXT";
  }
  return argument;
}

// "command", or "command      what it does", as a person lines them up.
void add_example(const std::string& line, std::vector<Footer::Example>& examples) {
  const std::size_t begin = line.find_first_not_of(' ');
  const std::size_t gap = line.find("   ", begin);
  const std::size_t more = gap == std::string::npos ? gap : line.find_first_not_of(" #", gap);
  const std::string command = line.substr(begin, gap == std::string::npos ? gap : gap - begin);
  if (more != std::string::npos) {
    examples.push_back({.caption = line.substr(more), .caption_is_of_one = true, .commands = {command}});
  } else if (examples.empty() || examples.back().caption_is_of_one) {
    examples.push_back({.caption = "", .commands = {command}});
  } else {
    examples.back().commands.push_back(command);
  }
}

}  // namespace

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

Command describe(CLI::App& app) {
  Command command;
  for (const CLI::App* one = &app; one != nullptr; one = one->get_parent()) {
    command.name = one->get_name() + (command.name.empty() ? "" : " ") + command.name;
  }
  command.summary = without_full_stop(app.get_description());
  command.footer = app.get_footer();
  command.stops_at_words = app.get_prefix_command();
  command.passes_options_down = app.get_fallthrough();
  for (CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    Argument argument = describe(*option);
    (option->get_positional() ? command.positionals : command.options).push_back(std::move(argument));
  }
  for (CLI::App* subcommand : app.get_subcommands({})) command.commands.push_back(describe(*subcommand));
  return command;
}

Footer take_apart(const std::string& text) {
  Footer footer;
  bool in_examples = false;
  bool continues = false;
  for (const std::string& line : split(text, '\n')) {
    if (line == "Example:" || line == "Examples:") {
      in_examples = true;
    } else if (line.empty()) {
      continues = false;
    } else if (in_examples && line.starts_with(' ')) {
      add_example(line, footer.examples);
    } else if (in_examples) {
      footer.examples.push_back({.caption = line, .commands = {}});
    } else if (continues) {
      footer.remarks.back() += " " + line;
    } else {
      footer.remarks.push_back(line);
      continues = true;
    }
  }
  std::erase_if(footer.examples, [](const Footer::Example& example) { return example.commands.empty(); });
  return footer;
}

}  // namespace varve::manual
