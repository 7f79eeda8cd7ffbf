#include "launcher/inside/program_read_ahead.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "fs/base/unique_fd.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

// A request for each piece: several are decompressed at once, and what is waited for does not wait long. For 2 MB on two processors
// a start took 9.8 ms with this size, 9.9 with half, 10.6 with twice of it.
constexpr off_t kPieceBytes = 128 * 1024;
constexpr off_t kMostBytes = 4 * 1024 * 1024;

// What is looked up while the container is set up: asked for first, these names do not wait behind the pieces.
constexpr const char* kPathsOfSetUp[] = {
    "/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group"};

}  // namespace

off_t begin_reading_program(int root_fd, const ProcessPlan& process) {
  if (process.arguments.empty()) return 0;
  for (const char* path : kPathsOfSetUp) {
    [[maybe_unused]] const Result<UniqueFd> looked_up = open_beneath(root_fd, path, O_PATH);
  }
  const std::string path = process.environment.get("PATH").value_or("");
  for (const std::string& place : places_of_program(process.arguments.front(), path)) {
    const std::string absolute = place.starts_with('/') ? place : process.working_directory + "/" + place;
    // Neither a terminal nor a named pipe of the image does anything to us by this.
    const Result<UniqueFd> file = open_beneath(root_fd, absolute, O_RDONLY | O_NOCTTY | O_NONBLOCK);
    struct stat about = {};
    if (!file.ok() || ::fstat(file->get(), &about) != 0 || !S_ISREG(about.st_mode)) continue;
    const off_t end = std::min<off_t>(about.st_size, kMostBytes);
    for (off_t at = 0; at < end; at += kPieceBytes) {
      ::posix_fadvise(file->get(), at, std::min(kPieceBytes, end - at), POSIX_FADV_WILLNEED);
    }
    return end;
  }
  return 0;
}

}  // namespace varve::launcher
