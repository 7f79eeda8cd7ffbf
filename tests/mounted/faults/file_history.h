#pragma once

// FileHistory: what a tree may look like after a power cut: the names of one moment since the last sync, and in each file sectors
// that are each of one version since the file's last sync. Thread rule: one thread. A value.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace varve::test {

class FileHistory {
 public:
  using FileId = int;
  // Each of them begins a moment; what it says may be so from its begin on, and was so when the next begins.
  FileId add(const std::string& path,
             std::string content);  // a file that is there from the start, or is made
  void write(FileId file, std::size_t offset, const std::string& bytes);
  void resize(FileId file, std::size_t size_bytes);
  void rename(const std::string& from,
              const std::string& to);  // with everything below; what `to` named is gone
  void link(const std::string& from, const std::string& to);
  void remove(const std::string& path);
  // The file was synced, and with it every name up to now.
  void synced(FileId file);
  void all_synced();

  FileId at(const std::string& path) const { return moments_.back().at(path); }
  const std::string& content(FileId file) const { return files_.at(file).back().content; }

  // What is wrong with a tree that was found; empty when it may be. `found`: regular files by path.
  std::string fault_of(const std::map<std::string, std::string>& found) const;

 private:
  struct Version {
    std::string content;
    // A write that makes a file longer may be cut in the middle, as everywhere: any size from this one on.
    std::size_t least_size_bytes = 0;
  };
  using Names = std::map<std::string, FileId>;
  static void settle(std::vector<Version>& versions);
  void change(const Names& names) { moments_.push_back(names); }
  std::string fault_of_content(const std::string& path, FileId file, const std::string& found) const;

  std::vector<Names> moments_{Names{}};
  std::map<FileId, std::vector<Version>> files_;  // versions since the last sync
};

}  // namespace varve::test
