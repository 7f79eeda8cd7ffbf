#pragma once

// Recipe: an Imagefile, read and checked as far as that is possible without its images: stages, which of them lead to which, and the
// instructions of each. Words are expanded when the instruction is carried out. Thread rule: plain values, stateless.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/recipe/expansion.h"
#include "imagetool/recipe/lexer.h"

namespace varve::recipe {

struct Stage {
  std::size_t line = 0;
  std::string base;      // an image, "scratch" or the name of an earlier stage; expanded
  std::string name;      // lower case; empty: none
  std::string platform;  // expanded; empty: the machine's
  std::vector<Instruction> steps;
};

struct Recipe {
  std::string file;  // what messages call it
  char escape = '\\';
  std::vector<std::pair<std::string, std::string>>
      global_args;            // ARG before the first FROM, with their values
  std::vector<Stage> stages;  // at least one

  // The stage of that name or number, among the first `limit`.
  std::optional<std::size_t> find_stage(std::string_view name, std::size_t limit) const;
  // Those that `target` is made of, itself included, in the order of the file.
  std::vector<std::size_t> needed_for(std::size_t target) const;
};

// `build_args`: the value that a person gave to a variable, if any. Returns: EINVAL "FILE:LINE: what is wrong and what was expected".
ResultOrFailure<Recipe> parse_recipe(std::string_view text, const std::string& file,
                                     const Variables& build_args);

// "FILE:LINE: KEYWORD: why".
Failure failure_at(const Recipe& recipe, const Instruction& instruction, const Failure& why);

// Variables that are there without being told: TARGETARCH and the like.
std::optional<std::string> platform_variable(std::string_view name);

}  // namespace varve::recipe
