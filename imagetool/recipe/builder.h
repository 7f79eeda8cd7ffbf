#pragma once

// build_image: carries out a Recipe: each stage is a stack of layers, to which RUN, COPY, ADD and WORKDIR add one and other
// instructions nothing; what was done before is taken from the store's build cache. Thread rule: the main thread.
// Ownership: borrows store and monitor. A build that fails leaves the layers of the steps that it did, in the cache, and nothing else.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/store/store.h"
#include "imagetool/recipe/ignore_patterns.h"
#include "imagetool/recipe/parser.h"

namespace varve::recipe {

struct BuildRequest {
  Recipe recipe;
  std::string context_directory;
  IgnorePatterns ignored;
  std::vector<image::ImageName> names;  // at least one
  std::map<std::string, std::string> build_args;
  std::map<std::string, std::string> labels;  // added at the end
  std::string target;                         // a stage; empty: the last one
  std::string network;  // as `varve run` has it; empty: choose_network() (run_command.h)
  bool use_cache = true;
  bool quiet = false;                                 // the output of RUN is thrown away
  image::BuildOptions layer;                          // for each layer
  std::function<void(const std::string& line)> tell;  // what is being done
  // The image that FROM or COPY --from names. `platform`: what FROM asks for; empty: nothing in particular.
  std::function<ResultOrFailure<image::Image>(const std::string& name, const std::string& platform)>
      find_image;
};

// Returns: the image under its first name; a Failure "FILE:LINE: KEYWORD: why" for an instruction that fails.
ResultOrFailure<image::Image> build_image(const BuildRequest& request, image::Store& store,
                                          image::Monitor& monitor);

}  // namespace varve::recipe
