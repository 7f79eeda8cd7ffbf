#pragma once

// command_line: all that imagetool understands, as one tree of commands and options. main() parses with it, and the manual is
// made of it (manual/). Thread rule: as imagetool/commands.h.

#include "imagetool/commands.h"

namespace varve::imagetool {

// Declares name, commands and options on an empty `app`. `context` outlives it.
void declare_command_line(CLI::App& app, Context& context);

}  // namespace varve::imagetool
