#include "tests/mounted/faults/kept_trees.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tests/support/mounted/file_tools.h"

namespace varve::test {
namespace {

int remove_object(const char* path, const struct stat*, int, struct FTW*) {
  return ::remove(path);
}

std::vector<std::pair<off_t, std::string>> data_of(const std::string& path) {
  std::vector<std::pair<off_t, std::string>> pieces;
  const UniqueFd fd = open_file(path, O_RDONLY);
  off_t data = 0;
  while ((data = ::lseek(fd.get(), data, SEEK_DATA)) >= 0) {
    const off_t hole = ::lseek(fd.get(), data, SEEK_HOLE);
    pieces.emplace_back(data, read_at(fd.get(), data, static_cast<std::size_t>(hole - data)));
    data = hole;
  }
  EXPECT_EQ(errno, ENXIO) << path;
  return pieces;
}

std::vector<std::pair<std::string, std::string>> xattrs_of(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string names(64 * 1024, '\0');
  std::string value(64 * 1024, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  EXPECT_GE(size, 0) << path << ": " << std::strerror(errno);
  for (const char* name = names.data(); name < names.data() + size; name += std::strlen(name) + 1) {
    const ssize_t length = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    EXPECT_GE(length, 0) << path << ": " << name << ": " << std::strerror(errno);
    if (length >= 0) xattrs.emplace_back(name, value.substr(0, static_cast<std::size_t>(length)));
  }
  return xattrs;
}

}  // namespace

KeptTrees::KeptTrees(std::vector<std::string> roots) : roots_(std::move(roots)) {
  for (const std::string& root : roots_) keep(root);
}

void KeptTrees::keep(const std::string& path) {
  Object object{.path = path, .status = stat_of(path)};
  const auto [first, added] =
      first_paths_.emplace(std::pair(object.status.st_dev, object.status.st_ino), path);
  if (!added) {
    object.linked_to = first->second;
    objects_.push_back(std::move(object));
    return;
  }
  object.xattrs = xattrs_of(path);
  if (S_ISREG(object.status.st_mode)) object.data = data_of(path);
  if (S_ISLNK(object.status.st_mode)) object.target = std::filesystem::read_symlink(path).string();
  const bool is_directory = S_ISDIR(object.status.st_mode);
  objects_.push_back(std::move(object));
  if (!is_directory) return;
  for (const std::string& name : names_in(path)) keep(path + "/" + name);
}

testing::AssertionResult KeptTrees::bring_back() const {
  const auto failed = [](const std::string& path) {
    return testing::AssertionFailure() << "bringing back " << path << ": " << std::strerror(errno);
  };
  for (const std::string& root : roots_) {
    if (::nftw(root.c_str(), remove_object, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0) return failed(root);
  }
  for (const Object& object : objects_) {
    if (make(object) != 0) return failed(object.path);
  }
  // Last, when nothing is made in a directory any more.
  for (const Object& object : objects_) {
    const struct timespec times[] = {object.status.st_atim, object.status.st_mtim};
    if (::utimensat(AT_FDCWD, object.path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return failed(object.path);
  }
  return testing::AssertionSuccess();
}

int KeptTrees::make(const Object& object) {
  const char* path = object.path.c_str();
  const mode_t mode = object.status.st_mode;
  if (!object.linked_to.empty()) return ::link(object.linked_to.c_str(), path);
  const int made = S_ISDIR(mode)   ? ::mkdir(path, 0700)
                   : S_ISLNK(mode) ? ::symlink(object.target.c_str(), path)
                   : S_ISREG(mode) ? fill(object)
                                   : ::mknod(path, mode, object.status.st_rdev);
  return made == 0 ? set_attributes(object) : made;
}

int KeptTrees::fill(const Object& object) {
  const UniqueFd fd(::open(object.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.valid() || ::ftruncate(fd.get(), object.status.st_size) != 0) return -1;
  for (const auto& [offset, bytes] : object.data) {
    if (::pwrite(fd.get(), bytes.data(), bytes.size(), offset) != static_cast<ssize_t>(bytes.size()))
      return -1;
  }
  return 0;
}

// A change of the owner takes away set-id bits and capabilities, so it comes first.
int KeptTrees::set_attributes(const Object& object) {
  const char* path = object.path.c_str();
  if (::lchown(path, object.status.st_uid, object.status.st_gid) != 0) return -1;
  if (!S_ISLNK(object.status.st_mode) && ::chmod(path, object.status.st_mode & 07777) != 0) return -1;
  for (const auto& [name, value] : object.xattrs) {
    if (::lsetxattr(path, name.c_str(), value.data(), value.size(), 0) != 0) return -1;
  }
  return 0;
}

}  // namespace varve::test
