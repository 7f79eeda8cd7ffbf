#include "fs/upper/cow/map_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "fs/block/fd_block_file.h"
#include "fs/upper/cow/block_map.h"
#include "fs/upper/object_path.h"

namespace varve::upper {
namespace {

std::string name_of(std::uint64_t map_id) {
  return fmt::format("{:016x}", map_id);
}

}  // namespace

Result<std::uint64_t> MapDirectory::new_id() {
  const MutexLock lock(mutex_);
  for (;;) {
    if (ids_.empty()) {
      std::vector<std::uint64_t> drawn(kIdsAtOnce);
      constexpr std::size_t kBytes = kIdsAtOnce * sizeof(std::uint64_t);
      if (::getrandom(drawn.data(), kBytes, 0) != kBytes) return Errno::last();
      ids_ = std::move(drawn);
    }
    const std::uint64_t id = ids_.back();
    ids_.pop_back();
    if (id != 0) return id;
  }
}

Result<std::unique_ptr<block::BlockFile>> MapDirectory::open_name(const std::string& name, int flags) const {
  const int fd = ::openat(directory_.fd(), name.c_str(), flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Errno::last();
  return std::unique_ptr<block::BlockFile>(std::make_unique<block::FdBlockFile>(UniqueFd(fd)));
}

Result<bool> MapDirectory::has(std::uint64_t map_id) const {
  if (directory_.fd() < 0) return false;
  if (::faccessat(directory_.fd(), name_of(map_id).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return true;
  if (errno != ENOENT) return Errno::last();
  return false;
}

Result<std::unique_ptr<block::BlockFile>> MapDirectory::open(std::uint64_t map_id) const {
  if (directory_.fd() < 0) return std::unique_ptr<block::BlockFile>();
  auto file = open_name(name_of(map_id), 0);
  if (!file.ok() && file.error().value == ENOENT) return std::unique_ptr<block::BlockFile>();
  return file;
}

Result<std::unique_ptr<block::BlockFile>> MapDirectory::make(std::uint64_t map_id, int data_fd) {
  const MutexLock lock(mutex_);
  VARVE_RETURN_IF_ERROR(directory_.make());
  VARVE_ASSIGN(auto file, open_name(name_of(map_id), O_CREAT));
  names_unsynced_ = true;
  // The last name of the file may have gone between its open and its first write. Whoever removes it removes
  // the map after it, so looking after the map was made catches every order of the two.
  struct stat status {};
  if (::fstat(data_fd, &status) != 0) return Errno::last();
  if (status.st_nlink == 0) VARVE_RETURN_IF_ERROR(remove(map_id));
  return file;
}

Status MapDirectory::remove(std::uint64_t map_id) {
  if (directory_.fd() < 0) return {};
  if (::unlinkat(directory_.fd(), name_of(map_id).c_str(), 0) != 0 && errno != ENOENT) return Errno::last();
  return {};
}

// Under the lock, so that a second caller does not return before the sync of the first is done.
Status MapDirectory::sync_names() {
  const MutexLock lock(mutex_);
  if (!names_unsynced_) return {};
  if (::fsync(directory_.fd()) != 0) return Errno::last();
  names_unsynced_ = false;
  return {};
}

Status MapDirectory::promote(std::uint64_t map_id) const {
  VARVE_ASSIGN(const auto file, open(map_id));
  if (file == nullptr) return {};
  return promote_live_claims(*file, boot_id_);
}

Status MapDirectory::promote_all() const {
  if (directory_.fd() < 0) return {};
  VARVE_ASSIGN(const auto entries, read_directory({directory_.fd(), {}}));
  for (const DirectoryEntry& entry : entries) {
    VARVE_ASSIGN(const auto file, open_name(entry.name, 0));
    VARVE_RETURN_IF_ERROR(promote_live_claims(*file, boot_id_));
  }
  return {};
}

}  // namespace varve::upper
