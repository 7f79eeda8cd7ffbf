#pragma once

// Prose: what people have written for a page, docs/man/NAME.mdoc: sections in mdoc(7), each begun by its ".Sh". Thread rule: a plain value.

#include <map>
#include <string>

namespace varve::manual {

struct Prose {
  std::map<std::string, std::string> sections;  // by name: the lines below its ".Sh"

  bool has(const std::string& section) const { return sections.count(section) != 0; }
  std::string section(const std::string& name) const {
    const auto found = sections.find(name);
    return found == sections.end() ? "" : found->second;
  }
};

// Nothing where there is no such file. Throws std::runtime_error for one that cannot be understood.
Prose read_prose(const std::string& path);

}  // namespace varve::manual
