#pragma once

// How the report on a layer's health is told. Thread rule: stateless but for quiet_damage_log, which is
// called before threads start.

#include <string>

#include "imagetool/image/layer_verify.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {

// The report tells the damage; the lines that reading logs about it would tell it twice.
void quiet_damage_log();
std::string report_text(const std::string& path, const image::VerifyReport& report);
// Only what is wrong, a line each, indented.
std::string damage_text(const image::VerifyReport& report);
image::Json report_json(const std::string& path, const image::VerifyReport& report);

}  // namespace varve::imagetool
