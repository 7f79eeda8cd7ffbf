#pragma once

// What --compress and --level of export and push mean. Thread rule: stateless.

#include <string>

#include "fs/base/result.h"
#include "imagetool/transfer/give_out.h"

namespace varve::imagetool {

// `compress`: "gzip", "zstd" or "none"; `level` 0: its default. Returns: EINVAL for a level that it does not have.
ResultOrFailure<transfer::LayerForm> tar_form(const std::string& compress, int level);

}  // namespace varve::imagetool
