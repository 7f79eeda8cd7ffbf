#include "imagetool/tar_form.h"

#include <fmt/format.h>

namespace varve::imagetool {

ResultOrFailure<transfer::LayerForm> tar_form(const std::string& compress, int level) {
  if (level != 0 && compress == "none")
    return Failure{EINVAL, "--level: nothing is compressed (add --compress gzip or zstd)"};
  if (level > 9 && compress == "gzip")
    return Failure{EINVAL, fmt::format("--level {}: gzip has 1 to 9", level)};
  return compress == "gzip"   ? transfer::LayerForm::kTarGzip
         : compress == "zstd" ? transfer::LayerForm::kTarZstd
                              : transfer::LayerForm::kTar;
}

}  // namespace varve::imagetool
