#pragma once

// Files that appear whole or not at all, and the small reads that go with them.
// Thread rule: stateless; two writers of one path: the last rename wins.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"

namespace varve::image {

// The bytes of a regular file. Returns: EFBIG when it holds more than `limit_bytes`.
Result<std::string> read_small_file(const std::string& path, std::uint64_t limit_bytes);

enum class Durability {
  kSynced,       // on stable storage when the call returns
  kUntilReboot,  // a power loss may leave anything, also an empty file
};
// Writes `bytes` under a temporary name beside `path`, makes them durable, sets `mode`, renames, and makes
// the directory durable. Leaves nothing behind when it fails.
Status write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode,
                             Durability durability = Durability::kSynced);

// Makes the entries of the directory that holds `path` durable.
Status sync_parent_directory(const std::string& path);

// mkdir -p. Directories that are made get `mode` (less the umask).
Status make_directories(const std::string& path, mode_t mode);

// rm -rf of `path`, never following a symbolic link. A path that does not exist is success.
Status remove_tree(const std::string& path);

}  // namespace varve::image
