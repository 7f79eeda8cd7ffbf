#pragma once

// Command, Argument: what a program's command line understands, as plain values taken from the CLI::App that it parses with. Pages
// and completion scripts are written of them. Thread rule: plain values.

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace varve::manual {

// An option, a flag, or a word that stands at a place of its own (positional).
struct Argument {
  std::vector<std::string> names;    // "-f", "--file"; of a positional the word that stands for it
  std::string shape;                 // of its value: "FILE", "auto|plain"; empty: a flag
  std::vector<std::string> choices;  // the only values that it takes; empty: any
  std::string range;                 // "1 to 19", or empty
  std::string help;
  std::string group;               // the heading it stands under; empty: the ordinary one
  std::string default_value;       // where --help tells it apart from `help`
  std::vector<std::string> needs;  // options without which it is refused, and with which
  std::vector<std::string> excludes;
  bool required = false;
  bool repeated = false;
};

struct Command {
  std::string name;                  // as it is typed: "imagetool layer build"
  std::string summary;               // the first line of its help, without a full stop
  std::string footer;                // of its help: remarks, examples
  bool stops_at_words = false;       // what follows the first positional belongs to another program
  bool passes_options_down = false;  // its options may stand behind its commands, too
  std::vector<Argument> options;
  std::vector<Argument> positionals;
  std::vector<Command> commands;
};

// All that `app` and its subcommands understand. What --help does not show is left out.
Command describe(CLI::App& app);

std::string joined(const std::vector<std::string>& words, const char* between);

// A section of --help's footer, taken apart.
struct Footer {
  struct Example {
    std::string caption;                // a sentence, or empty
    bool caption_is_of_one = false;     // it stood behind a single command
    std::vector<std::string> commands;  // lines to type
  };
  std::vector<std::string> remarks;  // paragraphs before the examples
  std::vector<Example> examples;
};
Footer take_apart(const std::string& footer);

}  // namespace varve::manual
