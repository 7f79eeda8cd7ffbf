#include "fs/layer/open_beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>

namespace varve::layer {
namespace {

// Below PATH_MAX, which counts the terminating NUL.
constexpr std::size_t kMaxPieceBytes = 4000;

int open_piece_once(int directory, const char* path, int flags) {
  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    // EAGAIN: a rename raced with the walk (openat2(2)).
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == ENOSYS) return ::openat(directory, path, flags | O_CLOEXEC | O_NOFOLLOW);
    return -1;
  }
}

Result<UniqueFd> open_piece(int directory, const std::string& path, int flags) {
  int fd = open_piece_once(directory, path.c_str(), flags);
  // Only an object's owner may ask to leave its access time alone (open(2)).
  if (fd < 0 && errno == EPERM && (flags & O_NOATIME) != 0) {
    fd = open_piece_once(directory, path.c_str(), flags & ~O_NOATIME);
  }
  if (fd < 0) return Errno::last();
  return UniqueFd(fd);
}

}  // namespace

Result<UniqueFd> open_beneath(int root, const std::string& path, int flags) {
  std::string_view rest = path;
  UniqueFd held;
  int directory = root;
  while (rest.size() > kMaxPieceBytes) {
    const std::size_t slash = rest.rfind('/', kMaxPieceBytes);
    if (slash == std::string_view::npos || slash == 0) return Errno{ENAMETOOLONG};
    VARVE_ASSIGN(held, open_piece(directory, std::string(rest.substr(0, slash)), O_PATH | O_DIRECTORY));
    directory = held.get();
    rest.remove_prefix(slash + 1);
  }
  return open_piece(directory, std::string(rest), flags);
}

}  // namespace varve::layer
