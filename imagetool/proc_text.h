#pragma once

// Text of /proc. Thread rule: stateless.

#include <string>

namespace varve::imagetool {

// A field of /proc/self/mounts and mountinfo, where space, tab, line end and backslash are "\040" and so on (proc(5)).
std::string unescaped_proc_text(const std::string& field);

}  // namespace varve::imagetool
