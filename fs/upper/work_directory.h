#pragma once

// WorkDirectory: opening upper and work directory together: that they exist, lie on one file system that can
// do what is needed, belong to each other, and are used by nobody else. Each refusal is one Failure, and
// leaves nothing behind. Thread rule: a plain value once open. Ownership: owns the descriptors; the locks on
// both directories are theirs.

#include <string>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/upper/cow/block_map_layout.h"
#include "fs/upper/marks.h"
#include "fs/upper/override/overrides.h"
#include "fs/upper/state_file.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

struct WorkDirectory {
  UniqueFd upper;  // O_RDONLY, locked
  UniqueFd work;   // O_RDONLY, locked
  UniqueFd own;    // work/varve, or work itself when it is thrown away; and its parts:
  UniqueFd stage;
  UniqueFd maps;   // invalid: not there yet
  UniqueFd index;  // the same
  MarkStore marks;
  Overrides overrides;
  BootId boot_id{};
  UpperState state;            // as written now: dirty
  bool was_clean = true;       // the mount before closed it, or there was none
  bool same_boot = false;      // as the mount before
  bool umask_is_zero = false;  // modes arrive as they are given
  bool is_new = false;         // `own` holds nothing of an earlier mount

  static ResultOrFailure<WorkDirectory> open(const UpperStore::Options& options);
  // Writes the state; `clean`: and tells others that nobody holds the directories any more.
  Status write(bool clean);
};

// 32 hexadecimal digits, dashes skipped. Returns: EINVAL.
Result<BootId> parse_boot_id(std::string_view text);

// Names of parts of work/varve.
inline constexpr const char* kMapsName = "maps";
inline constexpr const char* kIndexName = "index";
// Name of the mark on the upper's root that says that parts of it lie in the work directory (block maps, the
// index).
inline constexpr const char* kNeedsWorkMark = "needs-work";

}  // namespace varve::upper
