#pragma once

// A file that only grows: JSON values, one a line, the later ones in place of the earlier. Appending makes no inode and renames
// nothing, which on ext4 is most of what a small file replaced by rename costs. A line counts once its newline is there, so a reader
// sees each change whole or not at all; what a power loss leaves of an unsynced line has no newline and does not count.
// Thread rule: stateless; one writer at a time, readers at any.

#include <cstdint>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/image/store/atomic_file.h"

namespace varve::image {

struct RecordLines {
  std::string first;
  std::string last;  // of those that are whole; empty: there are fewer than two
};

// A new file (0600) of these two lines. Requires: no newline within a line.
// Returns: EEXIST. With kSynced its directory has still to be made durable.
Status create_record_lines(const std::string& path, const RecordLines& lines, Durability durability);
// Appends one more; a line that cannot be written whole is taken back.
Status append_record_line(const std::string& path, std::string_view line, Durability durability);
// Returns: EFBIG when the file holds more than `limit_bytes`.
Result<RecordLines> read_record_lines(const std::string& path, std::uint64_t limit_bytes);

}  // namespace varve::image
