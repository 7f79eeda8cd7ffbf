#pragma once

// completion: what bash, zsh and fish need to know of a program to complete its command line, as scripts. Of bash and fish the part that
// does not depend on the program stands in engine.bash and engine.fish, which are appended. Thread rule: stateless.

#include <string>
#include <vector>

#include "manual/command.h"
#include "manual/values.h"

namespace varve::manual {

// A command as a shell sees it: with the options of its parents that may stand behind it.
struct ShellCommand {
  std::string path;  // without the program: "layer build"; of the program itself empty
  Command command;
};
std::vector<ShellCommand> flattened(const Command& program);

// "build", of "imagetool layer build".
std::string last_word(const std::string& name);

// As engine.bash and engine.zsh read them: "word.auto begin.seccomp= images".
std::string in_words(const std::vector<Value>& values);
// The first sentence of a help text, for one line of a menu.
std::string brief(const std::string& help);
// For a shell: in single quotes.
std::string quoted(const std::string& text);

std::string bash_completion(const Command& program, const std::string& engine);
std::string zsh_completion(const Command& program, const std::string& engine);
std::string fish_completion(const Command& program, const std::string& engine);

}  // namespace varve::manual
