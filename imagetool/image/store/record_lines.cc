#include "imagetool/image/store/record_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/base/unique_fd.h"
#include "fs/base/write_all.h"

namespace varve::image {
namespace {

Status write_durably(int fd, std::string_view bytes, Durability durability) {
  VARVE_RETURN_IF_ERROR(write_all(fd, bytes));
  if (durability == Durability::kSynced && ::fdatasync(fd) != 0) return Errno::last();
  return {};
}

}  // namespace

Status create_record_lines(const std::string& path, const RecordLines& lines, Durability durability) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return Errno::last();
  return write_durably(file.get(), lines.first + "\n" + lines.last + "\n", durability);
}

Status append_record_line(const std::string& path, std::string_view line, Durability durability) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!file.valid()) return Errno::last();
  struct stat before {};
  if (::fstat(file.get(), &before) != 0) return Errno::last();
  Status written = write_durably(file.get(), std::string(line) + "\n", durability);
  if (!written.ok()) {
    // Where this fails, too, the line still has no newline, unless it is all there.
    [[maybe_unused]] const int ignored = ::ftruncate(file.get(), before.st_size);
  }
  return written;
}

Result<RecordLines> read_record_lines(const std::string& path, std::uint64_t limit_bytes) {
  VARVE_ASSIGN(const std::string text, read_small_file(path, limit_bytes));
  RecordLines lines;
  const std::size_t first_end = text.find('\n');
  if (first_end == std::string::npos) return lines;
  lines.first = text.substr(0, first_end);
  const std::size_t last_end = text.rfind('\n');
  if (last_end == first_end) return lines;
  const std::size_t last_begin = text.rfind('\n', last_end - 1) + 1;
  lines.last = text.substr(last_begin, last_end - last_begin);
  return lines;
}

}  // namespace varve::image
