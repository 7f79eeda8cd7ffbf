#include "manual/prose.h"

#include <fstream>
#include <stdexcept>

namespace varve::manual {

Prose read_prose(const std::string& path) {
  Prose prose;
  std::ifstream file(path);
  std::string* section = nullptr;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(".\\\"")) continue;
    if (line.starts_with(".Sh ")) {
      section = &prose.sections[line.substr(4)];
      if (!section->empty()) throw std::runtime_error(path + ": " + line + " stands there twice");
    } else if (section == nullptr) {
      throw std::runtime_error(path + ": the first line is no section (begin with .Sh NAME)");
    } else {
      *section += line + "\n";
    }
  }
  return prose;
}

}  // namespace varve::manual
