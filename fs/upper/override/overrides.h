#pragma once

// Overrides: reading and writing the xattr that says what an object of the upper is where the upper's file system cannot:
// owners, modes and kinds of object that the mounting user may not create (docs/upper-format.md, docs/decisions/0011).
// A value; every method may be called from any thread.

#include <sys/stat.h>

#include <optional>

#include "fs/base/result.h"
#include "fs/format/override_stat.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

class Overrides {
 public:
  Overrides() = default;
  explicit Overrides(OverrideUse use) : use_(use) {}

  OverrideUse use() const { return use_; }
  // Overrides are read, and written where they are needed.
  bool enabled() const { return use_ != OverrideUse::kNever; }
  // Owners are never changed in the file system below.
  bool always() const { return use_ == OverrideUse::kAlways; }

  // The override of an object whose own status is `status`; empty when it has none.
  // Returns: EIO for one that cannot be understood or does not fit the object (one log line).
  Result<std::optional<format::OverrideStat>> read(ObjectRef object, const struct stat& status) const;
  // What the union shows of the object: its status, and the override over it.
  Result<Attributes> attributes(ObjectRef object, const struct stat& status) const;
  // In one step. The object itself is made private to the daemon's user, who must be able to read and write it.
  Status write(ObjectRef object, const struct stat& status, const format::OverrideStat& override) const;

 private:
  OverrideUse use_ = OverrideUse::kNever;
};

// An object of type `type` (S_IFMT bits) may have these permissions on disk: they let the daemon in, and no set-id bit
// gives the rights of the mounting user to others.
bool permissions_stand(std::uint32_t type, std::uint32_t permissions);
// Only its owner may use it: 0600, directories 0700.
std::uint32_t private_permissions(std::uint32_t type);
// A change of owner or the making of a device that was refused for want of rights.
bool is_not_permitted(Errno error);

}  // namespace varve::upper
