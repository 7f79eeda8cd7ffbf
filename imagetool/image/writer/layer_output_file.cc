#include "imagetool/image/writer/layer_output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

namespace varve::image {
namespace {

constexpr mode_t kMode = 0666;  // less the umask
// So much goes to the disk at a time while the rest is being made, so that the sync at the end has little to wait for.
constexpr std::uint64_t kSendBytes = 8 << 20;
constexpr int kMostAttempts = 1000;

std::string temporary_name(int attempt) {
  return fmt::format(".varve-layer-{}-{}", ::getpid(), attempt);
}

}  // namespace

Failure LayerOutputFile::failure(const char* doing, Errno error) const {
  return failure_from(error, fmt::format("{} {}", doing, path_));
}

ResultOrFailure<std::unique_ptr<LayerOutputFile>> LayerOutputFile::create(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  UniqueFd directory(::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return failure_from(Errno::last(), "writing " + path + ": its directory");
  std::unique_ptr<LayerOutputFile> file(new LayerOutputFile(path, std::move(directory)));
  file->base_name_ = slash == std::string::npos ? path : path.substr(slash + 1);
  if (file->base_name_.empty()) return file->failure("writing", Errno{EISDIR});
  struct stat status {};
  if (::fstatat(file->directory_.get(), file->base_name_.c_str(), &status, 0) == 0 &&
      !S_ISREG(status.st_mode)) {
    return Failure{
        EEXIST,
        fmt::format("writing {}: it is there already and is no regular file (choose another name)", path)};
  }
  VARVE_RETURN_IF_ERROR(file->open_unnamed());
  return file;
}

LayerOutputFile::~LayerOutputFile() {
  if (!temporary_name_.empty()) ::unlinkat(directory_.get(), temporary_name_.c_str(), 0);
}

StatusOrFailure LayerOutputFile::open_unnamed() {
  fd_.reset(::openat(directory_.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, kMode));
  if (fd_.valid()) return {};
  // What open(2) says of file systems and kernels without O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
    return failure("writing", Errno::last());
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const std::string name = temporary_name(attempt);
    fd_.reset(::openat(directory_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
    if (fd_.valid()) {
      temporary_name_ = name;
      return {};
    }
    if (errno != EEXIST) break;
  }
  return failure("writing", Errno::last());
}

StatusOrFailure LayerOutputFile::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return failure("writing", count < 0 ? Errno::last() : Errno{EIO});
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    offset_bytes += static_cast<std::uint64_t>(count);
  }
  if (offset_bytes >= unsent_offset_ + kSendBytes) {
    // A hint: what it cannot do, the sync does.
    ::sync_file_range(fd_.get(), static_cast<off_t>(unsent_offset_),
                      static_cast<off_t>(offset_bytes - unsent_offset_), SYNC_FILE_RANGE_WRITE);
    unsent_offset_ = offset_bytes;
  }
  return {};
}

// Under a new name a file without one needs no temporary name, which would stay when the process is killed at the wrong moment.
Result<bool> LayerOutputFile::give_new_name() {
  const std::string self = fmt::format("/proc/self/fd/{}", fd_.get());
  if (::linkat(AT_FDCWD, self.c_str(), directory_.get(), base_name_.c_str(), AT_SYMLINK_FOLLOW) == 0)
    return true;
  if (errno == EEXIST) return false;
  return Errno::last();
}

StatusOrFailure LayerOutputFile::give_temporary_name() {
  const std::string self = fmt::format("/proc/self/fd/{}", fd_.get());
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const std::string name = temporary_name(attempt);
    if (::linkat(AT_FDCWD, self.c_str(), directory_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporary_name_ = name;
      return {};
    }
    if (errno != EEXIST) break;
  }
  return failure("naming", Errno::last());
}

StatusOrFailure LayerOutputFile::publish() {
  if (::fsync(fd_.get()) != 0) return failure("syncing", Errno::last());
  bool is_named = false;
  if (temporary_name_.empty()) {
    const Result<bool> named = give_new_name();
    if (!named.ok()) return failure("naming", named.error());
    is_named = *named;
    // linkat cannot replace a file, rename can.
    if (!is_named) VARVE_RETURN_IF_ERROR(give_temporary_name());
  }
  if (!is_named &&
      ::renameat(directory_.get(), temporary_name_.c_str(), directory_.get(), base_name_.c_str()) != 0) {
    return failure("naming", Errno::last());
  }
  temporary_name_.clear();
  const UniqueFd directory(::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0)
    return failure("syncing the directory of", Errno::last());
  return {};
}

}  // namespace varve::image
