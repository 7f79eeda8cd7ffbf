#pragma once

// Whiteouts: a character device 0:0 says that its name is absent, whatever lower layers hold (the form of the
// kernel's overlayfs, fs/overlayfs/overlayfs.h). Pure functions.

#include <sys/stat.h>

#include "fs/base/result.h"
#include "fs/upper/marks.h"
#include "fs/upper/upper_store.h"

namespace varve::upper {

// Returns: EEXIST when the name is taken.
Status make_whiteout(ObjectRef where);
// True for what could be one; a device 0:0 of a user looks the same.
bool looks_like_whiteout(const struct stat& status);
// Whether `object`, whose status is `status`, is a whiteout.
Result<bool> is_whiteout(const MarkStore& marks, ObjectRef object, const struct stat& status);

}  // namespace varve::upper
