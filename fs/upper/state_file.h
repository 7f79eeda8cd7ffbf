#pragma once

// UpperState: what the work directory remembers from one mount to the next, as lines of text
// (docs/upper-format.md). A plain value; write_state replaces the file by one rename.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"
#include "fs/upper/marks.h"

namespace varve::upper {

struct UpperState {
  std::string upper_id;  // 32 hexadecimal digits, also on the upper's root: whose work directory this is
  std::string boot_id;   // of the last mount
  MarkStore::Namespace marks = MarkStore::Namespace::kTrusted;
  std::optional<OverrideUse> overrides;  // empty: written before there were any
  bool clean = false;                    // the last mount was closed
  bool volatile_upper = false;           // the last mount synced nothing
  std::vector<std::string> base_stack;   // bottom first
};

std::string format_state(const UpperState& state);
// Returns: EBADMSG for text that is no state of a version that is known here.
Result<UpperState> parse_state(std::string_view text);

// Empty when there is no file.
Result<std::optional<UpperState>> read_state(int directory);
// It is on stable storage when it returns.
Status write_state(int directory, const UpperState& state);

}  // namespace varve::upper
