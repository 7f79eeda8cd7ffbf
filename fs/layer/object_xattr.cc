#include "fs/layer/object_xattr.h"

#include <fmt/format.h>
#include <sys/xattr.h>

#include <string_view>

namespace varve::layer {
namespace {

std::string proc_path(int fd) {
  return fmt::format("/proc/self/fd/{}", fd);
}

// Calls `get(buffer, size)` with growing buffers: the answer may grow between asking for its size and
// fetching it.
template <class Get>
Result<std::string> fetch(const Get& get) {
  std::string buffer(256, '\0');
  for (;;) {
    const ssize_t count = get(buffer.data(), buffer.size());
    if (count >= 0) {
      buffer.resize(static_cast<std::size_t>(count));
      return buffer;
    }
    if (errno != ERANGE) return Errno::last();
    const ssize_t wanted = get(nullptr, 0);
    if (wanted < 0) return Errno::last();
    buffer.resize(static_cast<std::size_t>(wanted) + 256);
  }
}

}  // namespace

Result<std::string> object_xattr(int fd, const std::string& name) {
  const std::string path = proc_path(fd);
  auto value =
      fetch([&](char* out, std::size_t size) { return ::getxattr(path.c_str(), name.c_str(), out, size); });
  if (!value.ok() && value.error() == Errno{EOPNOTSUPP}) return Errno{ENODATA};
  return value;
}

Result<std::vector<std::string>> object_xattr_names(int fd) {
  const std::string path = proc_path(fd);
  const auto list = fetch([&](char* out, std::size_t size) { return ::listxattr(path.c_str(), out, size); });
  std::vector<std::string> names;
  if (!list.ok()) {
    if (list.error() == Errno{EOPNOTSUPP}) return names;
    return list.error();
  }
  for (std::string_view rest = *list; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

}  // namespace varve::layer
