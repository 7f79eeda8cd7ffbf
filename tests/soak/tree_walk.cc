#include "tests/soak/tree_walk.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "tests/soak/soak.h"
#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

struct Links {
  std::uint64_t told = 0;  // by stat
  std::uint64_t names = 0;
  std::string path;  // one of them
};

class Walk {
 public:
  explicit Walk(std::string root) : root_(std::move(root)) {}

  InodeNumbers all() {
    directory("");
    for (const auto& [number, links] : files_) {
      if (links.names != links.told) {
        throw Fault(fmt::format("{} (inode {:x}) tells {} links, {} names were found", links.path, number,
                                links.told, links.names));
      }
    }
    return std::move(numbers_);
  }

 private:
  struct Listed {
    std::uint64_t inode_number = 0;
    unsigned char type = DT_UNKNOWN;
  };

  std::map<std::string, Listed> list(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir((root_ + path).c_str()), &::closedir);
    if (!stream) throw Fault(fmt::format("opening {}/: {}", path, strerrorname_np(errno)));
    std::map<std::string, Listed> names;
    errno = 0;
    while (const struct dirent* entry = ::readdir(stream.get())) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (!names.emplace(name, Listed{entry->d_ino, entry->d_type}).second) {
        throw Fault(fmt::format("the listing of {}/ tells \"{}\" twice", path, name));
      }
      errno = 0;
    }
    if (errno != 0) throw Fault(fmt::format("listing {}/: {}", path, strerrorname_np(errno)));
    return names;
  }

  void directory(const std::string& path) {
    std::uint64_t subdirectories = 0;
    for (const auto& [name, listed] : list(path)) subdirectories += object(path + "/" + name, listed) ? 1 : 0;
    const struct stat status = stat_of(root_ + path);
    if (status.st_nlink != 2 + subdirectories) {
      throw Fault(
          fmt::format("{}/ tells {} links and has {} subdirectories", path, status.st_nlink, subdirectories));
    }
  }

  // Returns: whether it is a directory.
  bool object(const std::string& path, const Listed& listed) {
    struct stat status {};
    if (::lstat((root_ + path).c_str(), &status) != 0) {
      throw Fault(fmt::format("{} is listed, but stat says {}", path, strerrorname_np(errno)));
    }
    if (status.st_ino != listed.inode_number || IFTODT(status.st_mode) != listed.type) {
      throw Fault(fmt::format("{}: listed as inode {:x} of type {}, stat says inode {:x}, mode {:o}", path,
                              listed.inode_number, listed.type, status.st_ino, status.st_mode));
    }
    numbers_[path] = status.st_ino;
    if (S_ISDIR(status.st_mode)) {
      directory(path);
      return true;
    }
    Links& links = files_[status.st_ino];
    links = {.told = status.st_nlink, .names = links.names + 1, .path = path};
    const std::string content = read_file(root_ + path);
    if (content.size() != static_cast<std::size_t>(status.st_size)) {
      throw Fault(fmt::format("{}: {} bytes were read of {}: {}", path, content.size(), status.st_size,
                              content.substr(0, 20)));
    }
    return false;
  }

  std::string root_;
  InodeNumbers numbers_;
  std::map<std::uint64_t, Links> files_;
};

}  // namespace

InodeNumbers walk(const std::string& root) {
  return Walk(root).all();
}

}  // namespace varve::test
