#pragma once

// The files of a control group: small texts, read and written whole. Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::launcher {

// The text without its last newline. Returns: the errno of open(2) or read(2).
Result<std::string> read_group_file(const std::string& path);

// What stands between spaces and newlines; none when the file cannot be read.
std::vector<std::string> read_words(const std::string& path);

// The number that the file consists of; empty when it cannot be read or holds another thing, as "max".
std::optional<std::uint64_t> read_number(const std::string& path);

// The number after `key` in the first line that begins with it, as in "oom_kill 3" of memory.events.
std::optional<std::uint64_t> read_keyed_number(const std::string& path, std::string_view key);

// One write(2), which the kernel takes as one command. `more_flags`: for open(2), besides O_WRONLY; O_CREAT lets tests
// use a tree of plain files. Returns: the errno of open(2) or write(2).
Status write_group_file(const std::string& path, std::string_view text, int more_flags = 0);

}  // namespace varve::launcher
