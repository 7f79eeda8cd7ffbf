#pragma once

// Options: what a view is built from, after the command line has been read. Plain values.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace varve::view {

struct Options {
  std::vector<std::string> lower_paths;  // top first; never normalised by text
  std::string upper_path;                // empty: read-only
  std::string work_path;
  bool volatile_upper = false;
  bool thrown_away_upper = false;  // nothing of it is wanted after the unmount
  bool keep_access_times = false;  // of files of the upper that are read
  // Owners, modes and devices of the upper are kept in override xattrs, even where the file system could hold them, and those
  // of plain directories as layers are read (docs/upper-format.md).
  bool override_owners = false;
  std::uint64_t cache_bytes = std::uint64_t{64} << 20;  // bound of the block cache
  std::size_t directory_fd_capacity = 1024;
};

}  // namespace varve::view
