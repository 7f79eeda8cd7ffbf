#pragma once

// Programs of ours that imagetool starts: found beside it, as they are installed and built, else in PATH. No shell is called.
// Thread rule: any thread.

#include <string>
#include <vector>

#include "fs/base/result.h"

namespace varve::imagetool {

// `name`: "varvefs". Returns: ENOENT with a sentence that says where it was looked for.
ResultOrFailure<std::string> find_neighbour(const std::string& name);

// Runs it and waits for its end; standard streams are ours, and so are signals' usual effects. `kept_fd`: one more descriptor that
// it gets under the same number; -1: none. Returns: its exit status, 128 + n when signal n ended it.
ResultOrFailure<int> run_neighbour(const std::vector<std::string>& words, int kept_fd = -1);

}  // namespace varve::imagetool
