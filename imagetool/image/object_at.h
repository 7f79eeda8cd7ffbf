#pragma once

// Objects named by (directory descriptor, name), never through a symbolic link. Xattrs have no system call
// for that before Linux 6.13 and go through /proc/self/fd. Thread rule: stateless.

#include <string>
#include <utility>
#include <vector>

#include "fs/base/result.h"

namespace varve::image {

using XattrList = std::vector<std::pair<std::string, std::string>>;
// All xattrs of `name` in `directory_fd` (of the directory itself when `name` is empty), never of what a
// symbolic link points to. Sorted by name. Empty where the file system has none.
Result<XattrList> read_xattrs(int directory_fd, const std::string& name);
Status write_xattr(int directory_fd, const std::string& name,
                   const std::pair<std::string, std::string>& xattr);

// The content of a symbolic link.
Result<std::string> read_link_at(int directory_fd, const std::string& name);

// The names in a directory but "." and "..", sorted by their bytes. Its access time stays as it is, where that is permitted.
Result<std::vector<std::string>> list_names(int directory_fd);

}  // namespace varve::image
