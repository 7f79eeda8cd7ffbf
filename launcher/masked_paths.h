#pragma once

// MaskedPaths: what a container finds empty or read-only, for it shows or steers the host. Plain values.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

// Absolute paths of the container. What does not exist there is nothing to hide.
struct MaskedPaths {
  std::vector<std::string> hidden;     // files are the null device, directories are empty
  std::vector<std::string> read_only;  // below /proc; /sys is read-only as a whole

  // The lists that container engines share (containers/common pkg/config, moby oci/defaults.go).
  static MaskedPaths defaults();
};

// podman-run(1) --security-opt mask=, unmask=: each word is PATH[:PATH...]; unmask takes ALL and glob(7) patterns, too.
// Returns: a Failure for a path that is not absolute, or a pattern that fits nothing of the lists.
ResultOrFailure<MaskedPaths> choose_masked_paths(const std::vector<std::string>& masked,
                                                 const std::vector<std::string>& unmasked);

// For --dry-run, without a newline: the difference to the defaults.
std::string to_text(const MaskedPaths& paths);

}  // namespace varve::launcher
