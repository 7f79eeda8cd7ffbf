#pragma once

// TreeWalk: everything below a directory, looked at while nobody changes it. Thread rule: one thread.

#include <cstdint>
#include <map>
#include <string>

namespace varve::test {

// Path below the root -> st_ino.
using InodeNumbers = std::map<std::string, std::uint64_t>;

// Lists, stats and reads all below `root`. Throws Fault unless every listed name is there, once, with the type and the number
// that the listing told; every file has as many links as names were found, and every directory two and one for each of its
// subdirectories; every file reads to its end. Returns: the inode numbers.
InodeNumbers walk(const std::string& root);

}  // namespace varve::test
