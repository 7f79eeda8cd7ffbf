#pragma once

// What commands that made an image tell of it on standard output. Thread rule: the main thread.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "imagetool/image/store/store.h"

namespace varve::imagetool {

// Of all its layers, as files.
std::uint64_t layer_bytes(const image::Image& image);

// "NAME DIGEST (ABOUT)"; with `json` in place of it an object of name, digest and what `more` holds.
void print_made_image(const image::Image& image, bool json, const nlohmann::json& more,
                      const std::string& about);

}  // namespace varve::imagetool
