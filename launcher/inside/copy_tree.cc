#include "launcher/inside/copy_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fs/base/unique_fd.h"

namespace varve::launcher {
namespace {

constexpr int kMaxDepth = 256;
constexpr std::size_t kBufferBytes = 128 << 10;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<std::vector<std::string>> names_in(int directory) {
  UniqueFd own(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return Errno::last();
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(own.get()));
  if (!stream) return Errno::last();
  [[maybe_unused]] const int taken = own.release();  // it is the stream's
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) return Errno::last();
  return names;
}

Status copy_contents(int source, int destination) {
  std::vector<char> buffer(kBufferBytes);
  for (;;) {
    const ssize_t got = ::read(source, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    if (got == 0) return {};
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = ::write(destination, buffer.data() + done, static_cast<std::size_t>(got - done));
      if (put < 0 && errno != EINTR) return Errno::last();
      if (put > 0) done += put;
    }
  }
}

// Not every file system holds every name: a tmpfs knows no user.* on older kernels.
bool is_left_out(int error_number) {
  return error_number == EOPNOTSUPP || error_number == EPERM || error_number == ENODATA;
}

Status copy_attributes(int source, int destination) {
  const ssize_t size = ::flistxattr(source, nullptr, 0);
  if (size < 0) return errno == EOPNOTSUPP ? Status() : Status(Errno::last());
  std::string names(static_cast<std::size_t>(size), '\0');
  const ssize_t listed = ::flistxattr(source, names.data(), names.size());
  if (listed < 0) return Errno::last();
  for (std::size_t begin = 0; begin < static_cast<std::size_t>(listed); begin = names.find('\0', begin) + 1) {
    const char* name = names.c_str() + begin;
    std::vector<char> value(XATTR_SIZE_MAX);
    const ssize_t got = ::fgetxattr(source, name, value.data(), value.size());
    if (got >= 0 && ::fsetxattr(destination, name, value.data(), static_cast<std::size_t>(got), 0) == 0)
      continue;
    if (!is_left_out(errno)) return Errno::last();
  }
  return {};
}

// EINVAL, EOVERFLOW: the id has no counterpart in this user namespace; the file stays the caller's.
Status owner_status(int result) {
  if (result == 0 || errno == EINVAL || errno == EOVERFLOW) return {};
  return Errno::last();
}

// In this order: a change of owner takes set-id bits and capabilities away.
Status copy_metadata(int source, int destination, const struct stat& about) {
  VARVE_RETURN_IF_ERROR(owner_status(::fchown(destination, about.st_uid, about.st_gid)));
  VARVE_RETURN_IF_ERROR(copy_attributes(source, destination));
  if (::fchmod(destination, about.st_mode & 07777) != 0) return Errno::last();
  const std::array<struct timespec, 2> times = {about.st_atim, about.st_mtim};
  if (::futimens(destination, times.data()) != 0) return Errno::last();
  return {};
}

class TreeCopy {
 public:
  explicit TreeCopy(int destination_root) : destination_root_(destination_root) {}

  // `path`: of the directory below the root of the copy, empty or with a slash at its end.
  Status copy_directory(int source, int destination, const std::string& path, int depth);

 private:
  struct Place {
    int source = -1;  // the directories that hold it
    int destination = -1;
    std::string name;
    std::string path;  // of the copy's directory, as above
  };
  Status copy_entry(const Place& place, int depth);
  Status copy_file(const Place& place, const struct stat& about);
  static Status copy_link(const Place& place, const struct stat& about);
  static Status copy_special(const Place& place, const struct stat& about);

  int destination_root_;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  // what has more names: path of its copy
};

Status TreeCopy::copy_file(const Place& place, const struct stat& about) {
  // It was a regular file a moment ago; O_NONBLOCK so that a FIFO in its place does not hold us.
  const UniqueFd source(
      ::openat(place.source, place.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!source.valid()) return Errno::last();
  const UniqueFd destination(
      ::openat(place.destination, place.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!destination.valid()) return Errno::last();
  VARVE_RETURN_IF_ERROR(copy_contents(source.get(), destination.get()));
  return copy_metadata(source.get(), destination.get(), about);
}

Status TreeCopy::copy_link(const Place& place, const struct stat& about) {
  std::array<char, PATH_MAX> text{};
  const ssize_t size = ::readlinkat(place.source, place.name.c_str(), text.data(), text.size() - 1);
  if (size < 0) return Errno::last();
  if (::symlinkat(text.data(), place.destination, place.name.c_str()) != 0) return Errno::last();
  return owner_status(
      ::fchownat(place.destination, place.name.c_str(), about.st_uid, about.st_gid, AT_SYMLINK_NOFOLLOW));
}

Status TreeCopy::copy_special(const Place& place, const struct stat& about) {
  const char* name = place.name.c_str();
  if (::mknodat(place.destination, name, about.st_mode & (S_IFMT | 07777), about.st_rdev) != 0) {
    return Errno::last();
  }
  VARVE_RETURN_IF_ERROR(
      owner_status(::fchownat(place.destination, name, about.st_uid, about.st_gid, AT_SYMLINK_NOFOLLOW)));
  if (::fchmodat(place.destination, name, about.st_mode & 07777, 0) != 0) return Errno::last();
  return {};
}

Status TreeCopy::copy_entry(const Place& place, int depth) {
  struct stat about = {};
  if (::fstatat(place.source, place.name.c_str(), &about, AT_SYMLINK_NOFOLLOW) != 0) return Errno::last();
  if (S_ISDIR(about.st_mode)) {
    const UniqueFd source(
        ::openat(place.source, place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!source.valid() || ::mkdirat(place.destination, place.name.c_str(), 0700) != 0) return Errno::last();
    const UniqueFd destination(
        ::openat(place.destination, place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!destination.valid()) return Errno::last();
    return copy_directory(source.get(), destination.get(), place.path + place.name + "/", depth + 1);
  }
  if (about.st_nlink > 1) {
    const auto [known, is_new] = linked_.try_emplace({about.st_dev, about.st_ino}, place.path + place.name);
    if (!is_new) {
      const int failed =
          ::linkat(destination_root_, known->second.c_str(), place.destination, place.name.c_str(), 0);
      return failed == 0 ? Status() : Status(Errno::last());
    }
  }
  if (S_ISREG(about.st_mode)) return copy_file(place, about);
  if (S_ISLNK(about.st_mode)) return copy_link(place, about);
  return copy_special(place, about);
}

Status TreeCopy::copy_directory(int source, int destination, const std::string& path, int depth) {
  if (depth > kMaxDepth) return Errno{ELOOP};
  struct stat about = {};
  if (::fstat(source, &about) != 0) return Errno::last();
  VARVE_ASSIGN(const std::vector<std::string> names, names_in(source));
  for (const std::string& name : names) {
    VARVE_RETURN_IF_ERROR(copy_entry({source, destination, name, path}, depth));
  }
  return copy_metadata(source, destination, about);
}

}  // namespace

Status copy_tree(int source, int destination) {
  return TreeCopy(destination).copy_directory(source, destination, "", 0);
}

}  // namespace varve::launcher
