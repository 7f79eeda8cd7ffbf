#pragma once

// NamesWorker: one of several processes that create, write, move and remove the same few names at once. Each call must succeed or
// give an errno that such a race can give on ext4; --native shows that the lists are right. Thread rule: one thread; several
// processes work on one tree.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "fs/base/unique_fd.h"
#include "tests/soak/soak.h"

namespace varve::test {

class NamesWorker {
 public:
  // `root`: holds the directories kTop. `tell`: called with every operation before it is done.
  NamesWorker(std::string root, std::uint64_t seed, std::function<void(const std::string&)> tell);
  // One operation. Throws Fault when it gives what it must not.
  void step();
  std::string last_operations() const { return log_.text(); }

  // These are always there, and never moved.
  static constexpr const char* kTop[] = {"low", "both", "up"};
  // In each of them. A name may be a file or a directory; what lies in such a directory is called kInside.
  static constexpr const char* kNames[] = {"a", "b", "c", "d"};
  static constexpr const char* kInside = "in";

 private:
  struct Path {
    std::string text;   // from the root
    bool deep = false;  // below a directory that comes and goes
  };
  struct Operation {
    unsigned weight;
    void (NamesWorker::*run)();
  };

  void create();
  void create_exclusively();
  void create_unnamed();
  void write();
  void read();
  void map_and_store();
  void truncate();
  void change_mode();
  void link();
  void unlink();
  void rename();
  void rename_noreplace();
  void rename_exchange();
  void make_directory();
  void remove_directory();
  void list();
  void stat();

  Path any_path();
  std::string full(const Path& path) const { return root_ + "/" + path.text; }
  void did(const std::string& what);
  // Throws Fault unless `result` is good or errno is one of `allowed`; below a directory that comes and goes ENOENT and ENOTDIR
  // are, too. Returns: whether it is good.
  bool accept(long result, std::initializer_list<int> allowed, bool deep = false);
  UniqueFd open(const Path& path, int flags, std::initializer_list<int> allowed);
  void fill(int fd);
  void close(UniqueFd fd);
  void rename_with(unsigned flags, const char* what, std::initializer_list<int> allowed);

  static const Operation kOperations[];
  std::string root_;
  Random random_;
  OperationLog log_;
  std::function<void(const std::string&)> tell_;
  std::string doing_;
};

}  // namespace varve::test
