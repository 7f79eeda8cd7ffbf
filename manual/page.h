#pragma once

// page: one page of the manual, in mdoc(7): synopsis and options as the program declares them, the rest as docs/man says it.
// Thread rule: stateless.

#include <string>

#include "manual/command.h"
#include "manual/prose.h"

namespace varve::manual {

// "imagetool-layer-build", of "imagetool layer build".
std::string page_name(const std::string& command_name);

struct PageSource {
  const Command& command;
  const Command* parent = nullptr;  // the command that it is one of; null: a program
  const Prose& own;                 // docs/man/PAGE.mdoc
  const Prose&
      common;  // docs/man/PROGRAM-commands.mdoc: sections of all commands that have none of their own
};

// `date`: as ".Dd" takes it.
std::string write_page(const PageSource& source, const std::string& date);

}  // namespace varve::manual
