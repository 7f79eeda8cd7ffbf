#pragma once

// Text of /proc. Thread rule: stateless.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::imagetool {

// A field of /proc/self/mounts and mountinfo, where space, tab, line end and backslash are "\040" and so on (proc(5)).
std::string unescaped_proc_text(const std::string& field);

// A mount of varvefs that this process sees.
struct VarvefsMount {
  std::string mount_point;
  std::string options;  // as the kernel lists them: "ro,nosuid,user_id=0,..."
};
ResultOrFailure<std::vector<VarvefsMount>> list_varvefs_mounts();

}  // namespace varve::imagetool
