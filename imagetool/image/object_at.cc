#include "imagetool/image/object_at.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "fs/base/unique_fd.h"

namespace varve::image {
namespace {

std::string proc_path(int directory_fd, const std::string& name) {
  std::string path = "/proc/self/fd/" + std::to_string(directory_fd);
  if (!name.empty()) path += "/" + name;
  return path;
}

// Calls `get` with growing buffers until the answer fits.
template <class Get>
Result<std::string> read_growing(const Get& get) {
  std::string buffer(1024, '\0');
  for (;;) {
    const ssize_t got = get(buffer.data(), buffer.size());
    if (got >= 0) {
      buffer.resize(static_cast<std::size_t>(got));
      return buffer;
    }
    if (errno != ERANGE || buffer.size() > (std::size_t{1} << 20)) return Errno::last();
    buffer.resize(buffer.size() * 8);
  }
}

}  // namespace

Result<XattrList> read_xattrs(int directory_fd, const std::string& name) {
  const std::string path = proc_path(directory_fd, name);
  // The directory itself is reached through the link /proc/self/fd/N, so that one must be followed.
  const bool follow = name.empty();
  const Result<std::string> names = read_growing([&](char* to, std::size_t size) {
    return follow ? ::listxattr(path.c_str(), to, size) : ::llistxattr(path.c_str(), to, size);
  });
  XattrList xattrs;
  if (!names.ok()) {
    if (names.error().value == ENOTSUP) return xattrs;
    return names.error();
  }
  for (std::size_t at = 0; at < names->size();) {
    const std::string key = names->c_str() + at;
    at += key.size() + 1;
    Result<std::string> value = read_growing([&](char* to, std::size_t size) {
      return follow ? ::getxattr(path.c_str(), key.c_str(), to, size)
                    : ::lgetxattr(path.c_str(), key.c_str(), to, size);
    });
    if (!value.ok()) {
      if (value.error().value == ENODATA) continue;  // removed since it was listed
      return value.error();
    }
    xattrs.emplace_back(key, std::move(value).value());
  }
  std::sort(xattrs.begin(), xattrs.end());
  return xattrs;
}

Status write_xattr(int directory_fd, const std::string& name,
                   const std::pair<std::string, std::string>& xattr) {
  const std::string path = proc_path(directory_fd, name);
  const auto& [key, value] = xattr;
  const int done = name.empty() ? ::setxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0)
                                : ::lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0);
  if (done != 0) return Errno::last();
  return {};
}

Result<std::string> read_link_at(int directory_fd, const std::string& name) {
  std::string target(4097, '\0');
  const ssize_t got = ::readlinkat(directory_fd, name.c_str(), target.data(), target.size());
  if (got < 0) return Errno::last();
  if (static_cast<std::size_t>(got) == target.size()) return Errno{ENAMETOOLONG};
  target.resize(static_cast<std::size_t>(got));
  return target;
}

Result<std::vector<std::string>> list_names(int directory_fd) {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  UniqueFd own(::openat(directory_fd, ".", kFlags | O_NOATIME));
  // Only its owner may ask to leave the access time alone (open(2)).
  if (!own.valid() && errno == EPERM) own.reset(::openat(directory_fd, ".", kFlags));
  if (!own.valid()) return Errno::last();
  const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(own.get()));
  if (!directory) return Errno::last();
  own.release();
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Errno::last();
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace varve::image
