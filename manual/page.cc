#include "manual/page.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <sstream>

namespace varve::manual {
namespace {

constexpr std::size_t kMostOptionsInSynopsis = 12;

// What groff would change in text: a hyphen that is a minus sign, quotes and marks that it draws as typographic ones. In text that is not
// literal, hyphens are minus signs in words that begin with one: options.
std::string escaped(const std::string& text, bool literal) {
  std::string safe;
  bool in_option = false;
  char before = ' ';
  for (const char c : text) {
    const bool begins_word = before == ' ' || before == '`' || before == '[' || before == '(';
    in_option = c != ' ' && (in_option || (begins_word && c == '-'));
    before = c;
    if (c == '\\') {
      safe += "\\e";
    } else if (c == '-' && (literal || in_option)) {
      safe += "\\-";
    } else if (c == '`') {
      safe += literal ? "\\(ga" : "\\(aq";
    } else if (c == '\'' && literal) {
      safe += "\\(aq";
    } else if (c == '~') {
      safe += "\\(ti";
    } else if (c == '^') {
      safe += "\\(ha";
    } else {
      safe += c;
    }
  }
  return safe.starts_with('.') || safe.starts_with('\'') ? "\\&" + safe : safe;
}

// As mdoc wants it: each sentence on a line of its own.
std::string paragraph(const std::string& text) {
  std::string lines;
  std::string rest = text;
  for (std::size_t end = rest.find(". "); end != std::string::npos; end = rest.find(". ")) {
    lines += escaped(rest.substr(0, end + 1), false) + "\n";
    rest.erase(0, rest.find_first_not_of(' ', end + 1));
  }
  return rest.empty() ? lines : lines + escaped(rest, false) + "\n";
}

// As an argument of a macro: words that would be macros are not, blanks stay within one word.
std::string macro_word(const std::string& word) {
  std::string safe;
  for (const char c : escaped(word, true)) safe += c == '"' ? std::string("\\(dq") : std::string(1, c);
  return safe.size() <= 2 || safe.find_first_of(" |") != std::string::npos ? "\"\\&" + safe + "\"" : safe;
}

std::string value_macro(const Argument& argument) {
  if (argument.shape.empty()) return "";
  const bool is_literal =
      std::none_of(argument.shape.begin(), argument.shape.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  return std::string(is_literal ? " Cm " : " Ar ") + macro_word(argument.shape);
}

std::string flag_macro(const std::string& name) {
  return "Fl " + escaped(name.substr(1), true);
}

// ".It Fl f , Fl \-file Ar FILE"
std::string item(const Argument& argument) {
  std::string line = ".It";
  for (const std::string& name : argument.names) {
    line += (line == ".It" ? " " : " , ") + flag_macro(name);
  }
  return line + value_macro(argument) + "\n";
}

std::string help_text(const Argument& argument) {
  std::string help = argument.help;
  if (!help.ends_with('.')) help += '.';
  const std::size_t last = argument.range.rfind(' ');
  if (last != std::string::npos && help.find(argument.range.substr(last)) == std::string::npos)
    help += " From " + argument.range + ".";
  if (!argument.default_value.empty() && help.find("default") == std::string::npos)
    help += " The default is " + argument.default_value + ".";
  if (argument.required) help += " It must be given.";
  if (argument.repeated && help.find("repeated") == std::string::npos &&
      help.find("several times") == std::string::npos) {
    help += " It may be repeated.";
  }
  if (!argument.needs.empty()) help += " It needs " + joined(argument.needs, ", ") + ".";
  if (!argument.excludes.empty()) help += " Not together with " + joined(argument.excludes, ", ") + ".";
  return paragraph(help);
}

std::string option_list(const std::vector<const Argument*>& options) {
  std::string text = ".Bl -tag -width Ds\n";
  for (const Argument* option : options) text += item(*option) + help_text(*option);
  return text + ".El\n";
}

std::string options_section(const Command& command, const Command* parent) {
  std::vector<std::string> groups;  // in the order in which they come
  for (const Argument& option : command.options) {
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  }
  std::string text;
  for (const std::string& group : groups) {
    std::vector<const Argument*> members;
    for (const Argument& option : command.options) {
      if (option.group == group) members.push_back(&option);
    }
    if (!group.empty()) text += ".Ss " + group + "\n";
    text += option_list(members);
  }
  if (parent == nullptr || !parent->passes_options_down || parent->options.size() < 2) return text;
  const std::string top = page_name(parent->name.substr(0, parent->name.find(' ')));
  return text + ".Pp\nThe options of\n.Xr " + top + " 1\nmay be given as well.\n";
}

std::string positional_words(const Command& command) {
  std::string text;
  for (const Argument& word : command.positionals) {
    const std::string macro = "Ar " + macro_word(word.names[0]) + (word.repeated ? " ..." : "");
    text += (word.required ? "." : ".Op ") + macro + "\n";
  }
  return text;
}

std::string synopsis(const Command& command) {
  std::string text = ".Nm " + command.name + "\n";
  if (command.options.size() > kMostOptionsInSynopsis) {
    text += ".Op Ar OPTION ...\n";
  } else {
    for (const Argument& option : command.options) {
      if (option.names.back() == "--help") continue;
      const std::string macro = flag_macro(option.names[0]) + value_macro(option);
      text += (option.required ? "." : ".Op ") + macro + (option.repeated ? " ..." : "") + "\n";
    }
  }
  if (!command.commands.empty()) text += ".Ar COMMAND\n.Op Ar ARGUMENT ...\n";
  return text + positional_words(command);
}

std::string lower_first(std::string text) {
  if (text.size() > 1 && text[1] >= 'a') text[0] = static_cast<char>(text[0] | 0x20);
  return text;
}

std::string description(const PageSource& source, const Footer& footer) {
  std::string text = source.own.section("DESCRIPTION");
  if (text.empty()) text = paragraph(source.command.summary + ".");
  for (const std::string& remark : footer.remarks) {
    if (!remark.starts_with("Exit status:")) text += ".Pp\n" + paragraph(remark);
  }
  if (source.command.positionals.empty() || source.own.has("SYNOPSIS")) return text;
  text += ".Pp\nIts arguments:\n.Bl -tag -width Ds\n";
  for (const Argument& word : source.command.positionals)
    text += ".It Ar " + macro_word(word.names[0]) + "\n" + help_text({.help = word.help});
  return text + ".El\n";
}

std::string commands_section(const Command& command) {
  if (command.commands.empty()) return "";
  std::string text = ".Bl -tag -width Ds\n";
  for (const Command& one : command.commands) {
    text += ".It Xr " + page_name(one.name) + " 1\n" + paragraph(one.summary + ".");
  }
  return text + ".El\n";
}

std::string examples_section(const Footer& footer, const Prose& own) {
  std::string text;
  for (const Footer::Example& example : footer.examples) {
    if (!example.caption.empty()) {
      std::string caption = example.caption;
      if (caption.ends_with(':') || caption.ends_with('.')) caption.pop_back();
      caption[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(caption[0])));
      text += ".Pp\n" + paragraph(caption + ":");
    }
    text += ".Bd -literal -offset indent\n";
    for (const std::string& line : example.commands) text += escaped(line, true) + "\n";
    text += ".Ed\n";
  }
  // mdoc(7) has no paragraph before the first text of a section.
  if (text.starts_with(".Pp\n")) text.erase(0, 4);
  const std::string more = own.section("EXAMPLES");
  return text + (text.empty() || more.empty() ? "" : ".Pp\n") + more;
}

// All pages that are named, once each, in the order that mandoc(1) asks for: by section, then by name.
std::string see_also(const PageSource& source) {
  std::set<std::pair<std::string, std::string>> pages;
  std::istringstream lines(source.own.section("SEE ALSO"));
  for (std::string macro, name, section; lines >> macro >> name >> section;) pages.emplace(section, name);
  for (std::string parent = source.command.name; parent.rfind(' ') != std::string::npos;) {
    parent.resize(parent.rfind(' '));
    pages.emplace("1", page_name(parent));
  }
  std::string text;
  for (const auto& [section, name] : pages) {
    text += (text.empty() ? "" : " ,\n") + (".Xr " + name + " ") + section;
  }
  return text.empty() ? text : text + "\n";
}

std::string exit_status(const PageSource& source, const Footer& footer) {
  if (source.own.has("EXIT STATUS")) return source.own.section("EXIT STATUS");
  for (const std::string& remark : footer.remarks) {
    if (remark.starts_with("Exit status:"))
      return paragraph(remark.substr(13) + (remark.ends_with('.') ? "" : "."));
  }
  return source.common.section("EXIT STATUS");
}

}  // namespace

std::string page_name(const std::string& command_name) {
  std::string name = command_name;
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string write_page(const PageSource& source, const std::string& date) {
  const Command& command = source.command;
  const std::string name = page_name(command.name);
  std::string title = name;
  std::transform(title.begin(), title.end(), title.begin(), ::toupper);
  const Footer footer = take_apart(command.footer);
  const auto prose = [&source](const char* section) {
    return source.own.has(section) ? source.own.section(section) : source.common.section(section);
  };
  const std::string own_synopsis = source.own.section("SYNOPSIS");
  const std::array<std::pair<const char*, std::string>, 12> sections = {{
      {"SYNOPSIS", own_synopsis.empty() ? synopsis(command) : own_synopsis},
      {"DESCRIPTION", description(source, footer)},
      {"COMMANDS", commands_section(command)},
      {"OPTIONS", options_section(command, source.parent)},
      {"MOUNT OPTIONS", source.own.section("MOUNT OPTIONS")},
      {"ENVIRONMENT", prose("ENVIRONMENT")},
      {"FILES", prose("FILES")},
      {"EXIT STATUS", exit_status(source, footer)},
      {"EXAMPLES", examples_section(footer, source.own)},
      {"DIAGNOSTICS", prose("DIAGNOSTICS")},
      {"SEE ALSO", see_also(source)},
      {"CAVEATS", prose("CAVEATS")},
  }};
  std::string page =
      ".\\\" Made of what the program declares, and of docs/man/" + name + ".mdoc. Change it there.\n";
  page += ".Dd " + date + "\n.Dt " + title + " 1\n.Os varve " VARVE_VERSION "\n";
  page += ".Sh NAME\n.Nm " + name + "\n.Nd " + escaped(lower_first(command.summary), false) + "\n";
  for (const auto& [heading, text] : sections) {
    if (!text.empty()) page += std::string(".Sh ") + heading + "\n" + text;
  }
  return page;
}

}  // namespace varve::manual
