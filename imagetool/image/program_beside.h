#pragma once

// Where a program of ours lies: beside the one that runs, as they are installed and built, else in PATH. Thread rule: any thread.

#include <string>

namespace varve::image {

// The directory of the running program; empty where /proc does not tell.
std::string own_directory();
// `name`: "varvefs". Empty when it is in neither.
std::string find_program_beside(const std::string& name);

}  // namespace varve::image
