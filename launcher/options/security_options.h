#pragma once

// --security-opt and --privileged: what was typed, and what it means. Thread rule: stateless.

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

class OptionList;

// What was typed.
struct SecurityOptions {
  std::vector<std::string> words;  // --security-opt, one each
  bool privileged = false;
};
void declare_security_options(OptionList& list, SecurityOptions& options);

// What it means.
struct SecurityChoice {
  bool no_new_privileges = true;
  std::optional<std::string> seccomp;  // as plan_seccomp() takes it
  std::vector<std::string> masked;     // as choose_masked_paths() takes them
  std::vector<std::string> unmasked;
};
// podman-run(1) --security-opt. Returns: a Failure for what varve cannot do.
ResultOrFailure<SecurityChoice> choose_security(const SecurityOptions& options);

}  // namespace varve::launcher
