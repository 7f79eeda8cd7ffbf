#include "imagetool/image/store/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "fs/base/unique_fd.h"
#include "fs/base/write_all.h"

namespace varve::image {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Names first, then removal: readdir(3) leaves open what it shows of a directory that changes meanwhile.
Result<std::vector<std::string>> names_in(UniqueFd directory_fd) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(directory_fd.get()));
  if (!directory) return Errno::last();
  directory_fd.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Errno::last();
  return names;
}

Status remove_entry(int parent_fd, const std::string& name) {
  if (::unlinkat(parent_fd, name.c_str(), 0) == 0) return {};
  if (errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return Errno::last();
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd directory(::openat(parent_fd, name.c_str(), flags));
  if (!directory.valid() && errno == EACCES) {  // 0000 directories of an ordinary user's container
    ::fchmodat(parent_fd, name.c_str(), 0700, 0);
    directory.reset(::openat(parent_fd, name.c_str(), flags));
  }
  if (!directory.valid()) return Errno::last();
  UniqueFd for_names(::openat(directory.get(), ".", flags));
  if (!for_names.valid()) return Errno::last();
  VARVE_ASSIGN(const std::vector<std::string> names, names_in(std::move(for_names)));
  for (const std::string& child : names) VARVE_RETURN_IF_ERROR(remove_entry(directory.get(), child));
  if (::unlinkat(parent_fd, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) return Errno::last();
  return {};
}

}  // namespace

Result<std::string> read_small_file(const std::string& path, std::uint64_t limit_bytes) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return Errno::last();
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return Errno::last();
  if (S_ISDIR(status.st_mode)) return Errno{EISDIR};
  if (!S_ISREG(status.st_mode)) return Errno{EINVAL};
  std::string bytes;
  std::string buffer(64 * 1024, '\0');
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    if (got == 0) return bytes;
    bytes.append(buffer, 0, static_cast<std::size_t>(got));
    if (bytes.size() > limit_bytes) return Errno{EFBIG};
  }
}

Status write_file_atomically(const std::string& path, std::string_view bytes, mode_t mode,
                             Durability durability) {
  const bool synced = durability == Durability::kSynced;
  std::string temporary = path + ".XXXXXX";
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.valid()) return Errno::last();
  const auto finish = [&]() -> Status {
    VARVE_RETURN_IF_ERROR(write_all(file.get(), bytes));
    if (::fchmod(file.get(), mode) != 0) return Errno::last();
    if (synced && ::fsync(file.get()) != 0) return Errno::last();
    if (::rename(temporary.c_str(), path.c_str()) != 0) return Errno::last();
    return {};
  };
  const Status status = finish();
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  return synced ? sync_parent_directory(path) : Status();
}

Status sync_parent_directory(const std::string& path) {
  const UniqueFd directory(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return Errno::last();
  if (::fsync(directory.get()) != 0) return Errno::last();
  return {};
}

Status make_directories(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) == 0) return {};
  if (errno == EEXIST) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return Errno::last();
    return S_ISDIR(status.st_mode) ? Status{} : Status{Errno{ENOTDIR}};
  }
  if (errno != ENOENT) return Errno::last();
  const std::string parent = parent_of(path);
  if (parent == path) return Errno{ENOENT};
  VARVE_RETURN_IF_ERROR(make_directories(parent, mode));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return Errno::last();
  return {};
}

Status remove_tree(const std::string& path) {
  if (path.empty()) return Errno{EINVAL};
  const Status removed = remove_entry(AT_FDCWD, path);
  // A part of the path is no directory: there is nothing of this name.
  return removed.ok() || removed.error().value == ENOTDIR ? Status() : removed;
}

}  // namespace varve::image
