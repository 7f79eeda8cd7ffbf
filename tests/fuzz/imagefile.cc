// Fuzz target: an Imagefile is read, and all of its instructions that change nothing but the configuration are carried out; or the text
// is an ignore file and its first line a path. Input: u8 mode, text.

#include <algorithm>
#include <cstdint>
#include <string>

#include "fs/base/check.h"
#include "imagetool/recipe/ignore_patterns.h"
#include "imagetool/recipe/stage_state.h"

namespace varve::recipe {
namespace {

void read_recipe(std::string_view text) {
  const Variables given = [](std::string_view name) {
    return name == "GIVEN" ? std::optional<std::string>("value") : std::nullopt;
  };
  const auto recipe = parse_recipe(text, "F", given);
  if (!recipe.ok()) {
    VARVE_CHECK(recipe.error().message.starts_with("F:"));
    return;
  }
  VARVE_CHECK(!recipe->stages.empty());
  const std::size_t last = recipe->stages.size() - 1;
  VARVE_CHECK(recipe->needed_for(last).back() == last);
  for (const Stage& stage : recipe->stages) {
    StageState state = begin_from_scratch();
    for (const Instruction& step : stage.steps) {
      if (step.keyword == "WORKDIR") {
        const auto path = apply_working_directory(step, recipe->escape, state);
        VARVE_CHECK(!path.ok() || path->starts_with('/'));
      } else if (step.keyword != "RUN" && step.keyword != "COPY" && step.keyword != "ADD") {
        const auto understood = apply_setting(step, {.recipe = *recipe, .build_args = given}, state);
        VARVE_CHECK(understood.ok() || !understood.error().message.empty());
      } else {
        for (const HereDocument& document : step.documents) {
          static_cast<void>(state.expansion(recipe->escape).document(document.content).ok());
        }
      }
    }
    const auto again = image::parse_image_config(image::image_config_to_json(state.config));
    VARVE_CHECK(again.ok());
    VARVE_CHECK(again->cmd.size() == state.config.cmd.size() && again->env.size() == state.config.env.size());
  }
}

void read_patterns(std::string_view text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const auto patterns = IgnorePatterns::parse(text.substr(std::min(end + 1, text.size())));
  if (!patterns.ok()) return;
  const bool ignored = patterns->ignores(text.substr(0, end));
  VARVE_CHECK(!ignored || !patterns->empty());
}

}  // namespace
}  // namespace varve::recipe

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 1) == 0) {
    varve::recipe::read_recipe(text);
  } else {
    varve::recipe::read_patterns(text);
  }
  return 0;
}
