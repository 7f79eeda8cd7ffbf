#pragma once

// An option that may be given several times. Thread rule: stateless.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace varve::launcher {

// CLI11 lets an option that may be repeated swallow words up to the next option; ours take one word each time.
inline void add_repeated(CLI::App& app, const std::string& names, std::vector<std::string>& to,
                         const std::string& help) {
  app.add_option(names, to, help)
      ->allow_extra_args(false)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace varve::launcher
