#pragma once

// programs: the command lines of the three programs, as they parse them. Thread rule: stateless.

#include <vector>

#include "manual/command.h"

namespace varve::manual {

// imagetool, varve, varvefs.
std::vector<Command> all_programs();

}  // namespace varve::manual
