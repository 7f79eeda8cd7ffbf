#include "launcher/environment.h"

#include <cstdlib>
#include <fstream>

#include "launcher/explain.h"

namespace varve::launcher {

std::optional<std::string> host_variable(const std::string& name) {
  const char* value =
      std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): the launcher has one thread
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

void Environment::set(std::string_view name, std::string_view value) {
  const std::string entry = std::string(name) + "=" + std::string(value);
  for (std::string& existing : entries_) {
    if (existing.compare(0, name.size() + 1, entry, 0, name.size() + 1) == 0) {
      existing = entry;
      return;
    }
  }
  entries_.push_back(entry);
}

std::optional<std::string> Environment::get(std::string_view name) const {
  for (const std::string& entry : entries_) {
    if (entry.size() > name.size() && entry[name.size()] == '=' &&
        std::string_view(entry).substr(0, name.size()) == name) {
      return entry.substr(name.size() + 1);
    }
  }
  return std::nullopt;
}

StatusOrFailure Environment::apply(std::string_view assignment, const HostVariable& host) {
  const std::size_t equals = assignment.find('=');
  const std::string name(assignment.substr(0, equals));
  if (name.empty() || assignment.find('\0') != std::string_view::npos) {
    return refuse("setting the environment", assignment, "this is no NAME=VALUE");
  }
  if (equals != std::string_view::npos) {
    set(name, assignment.substr(equals + 1));
  } else if (const std::optional<std::string> value = host(name)) {
    set(name, *value);
  }
  return {};
}

StatusOrFailure Environment::apply_file(const std::string& path, const HostVariable& host) {
  std::ifstream file(path);
  if (!file) return explain(Errno::last(), "reading the environment file", path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    VARVE_RETURN_IF_ERROR(apply(line, host));
  }
  if (file.bad()) return explain(Errno{EIO}, "reading the environment file", path, "is it a directory?");
  return {};
}

}  // namespace varve::launcher
