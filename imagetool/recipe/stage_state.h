#pragma once

// StageState: what a stage has become after some of its instructions; and the instructions that change nothing but its configuration.
// Thread rule: a plain value.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "imagetool/image/store/store.h"
#include "imagetool/recipe/parser.h"

namespace varve::recipe {

struct StageState {
  image::ImageConfig config;
  std::vector<image::Descriptor> layers;  // bottom first
  std::vector<std::string> layer_paths;
  std::map<std::string, std::string> args;    // those that were declared and have a value
  bool has_own_command = false;               // CMD was given in this stage
  image::Digest key = image::Digest::of("");  // of all that it was made of

  // ENV before ARG.
  std::optional<std::string> variable(std::string_view name) const;
  Expansion expansion(char escape) const {
    return {[this](std::string_view name) { return variable(name); }, escape};
  }
  // What SHELL says.
  std::vector<std::string> shell() const;
  // Of RUN: those of ARG that ENV does not hide, then ENV. "NAME=VALUE".
  std::vector<std::string> environment() const;
};

// A stage that begins on an image, or where another one ended.
StageState begin_on(const image::Image& image);
StageState begin_on(const StageState& stage);
StageState begin_from_scratch();

struct SettingContext {
  const Recipe& recipe;
  const Variables& build_args;  // those that were given
};

// Carries out one of ARG CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL MAINTAINER ONBUILD SHELL STOPSIGNAL USER VOLUME.
// Returns: the instruction as it was understood, variables expanded; EINVAL with what was expected.
ResultOrFailure<std::string> apply_setting(const Instruction& instruction, const SettingContext& context,
                                           StageState& state);

// WORKDIR: the new one, absolute and without "..". Changes `state`.
ResultOrFailure<std::string> apply_working_directory(const Instruction& instruction, char escape,
                                                     StageState& state);

}  // namespace varve::recipe
