#pragma once

// KeptTrees: directory trees read into memory, to be made again and again as they were: kinds, contents with their holes, owners,
// modes, times, xattrs, and hard links, also from one tree into another. Thread rule: one thread.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace varve::test {

class KeptTrees {
 public:
  // Reads the trees at `roots`. Of root, since all xattrs are to be seen.
  explicit KeptTrees(std::vector<std::string> roots);
  // Removes what is at the roots now and makes what was there.
  testing::AssertionResult bring_back() const;

 private:
  struct Object {
    std::string path;
    struct stat status {};
    std::string linked_to;  // an object before it that is the same inode; else empty
    std::string target;     // of a symbolic link
    std::vector<std::pair<off_t, std::string>> data;  // of a file, without its holes
    std::vector<std::pair<std::string, std::string>> xattrs;
  };

  void keep(const std::string& path);
  static int make(const Object& object);
  static int fill(const Object& object);
  static int set_attributes(const Object& object);

  std::vector<std::string> roots_;
  std::vector<Object> objects_;  // a directory before what is in it
  std::map<std::pair<dev_t, ino_t>, std::string> first_paths_;
};

}  // namespace varve::test
