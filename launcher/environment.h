#pragma once

// Environment: an ordered list of NAME=VALUE for a process. Nothing comes from the launcher's own environment but what
// was asked for by name. Plain values.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

// What getenv(3) answers; a parameter so that tests need not change the process.
using HostVariable = std::function<std::optional<std::string>(const std::string& name)>;
std::optional<std::string> host_variable(const std::string& name);

class Environment {
 public:
  // A later value of a name takes the place of the earlier one.
  void set(std::string_view name, std::string_view value);
  bool has(std::string_view name) const { return get(name).has_value(); }
  std::optional<std::string> get(std::string_view name) const;
  const std::vector<std::string>& entries() const { return entries_; }

  // "NAME=VALUE", or "NAME" for the host's value of it, which is nothing when the host has none (as podman's -e).
  // Returns: a Failure for an empty NAME.
  StatusOrFailure apply(std::string_view assignment, const HostVariable& host);
  // Lines as for apply(); empty lines and those that begin with '#' are skipped.
  StatusOrFailure apply_file(const std::string& path, const HostVariable& host);

 private:
  std::vector<std::string> entries_;
};

}  // namespace varve::launcher
