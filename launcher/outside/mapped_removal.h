#pragma once

// mapped_removal: deletes trees in which a container of an ordinary user has left files of mapped ids (volumes). To the host they
// belong to the user's subordinate ids, and the user alone may not delete what lies in a directory of theirs.
// Thread rule: the calling process has one thread.

#include <string>

#include "fs/base/result.h"

namespace varve::launcher {

// rm -rf of `path`, never following a link; nothing there is success. What the user may not delete is deleted as root of a user
// namespace with all ids that the user may map; which container wrote it does not matter.
StatusOrFailure remove_with_all_ids(const std::string& path);

}  // namespace varve::launcher
