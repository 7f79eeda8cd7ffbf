#pragma once

// UpperCopy: a copy of an upper and its work directory that stand still, to be committed while the mount goes on: as a kill at that moment
// would have left them, which they are made for (docs/consistency.md). Only what was written is copied; blocks are shared where
// the file system can. Thread rule: one thread. Ownership: owns the copy, which goes with the object.

#include <string>

#include "fs/base/result.h"

namespace varve::imagetool {

class UpperCopy {
 public:
  // Into a new directory in `scratch`. Requires: nobody changes upper and work meanwhile (standstill.h).
  static ResultOrFailure<UpperCopy> make(const std::string& upper, const std::string& work,
                                         const std::string& scratch);
  UpperCopy(UpperCopy&& other) noexcept;
  UpperCopy& operator=(UpperCopy&&) = delete;
  ~UpperCopy();

  const std::string& upper() const { return upper_; }
  const std::string& work() const { return work_; }

 private:
  UpperCopy() = default;
  // The copy is of this boot, and nothing of it is lost: what would keep the original from another mount is taken away.
  StatusOrFailure make_usable();

  std::string directory_;  // empty: moved from
  std::string upper_;
  std::string work_;
};

}  // namespace varve::imagetool
