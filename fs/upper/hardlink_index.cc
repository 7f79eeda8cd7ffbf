#include "fs/upper/hardlink_index.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "fs/base/log.h"
#include "fs/upper/object_path.h"
#include "fs/upper/terminated_name.h"

namespace varve::upper {
namespace {

constexpr std::string_view kUnconfirmed = ".new";

std::optional<Origin> origin_from(std::string_view name) {
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const char* const end = name.data() + name.size();
  std::uint16_t slot = 0;
  std::uint64_t inode_number = 0;
  const auto first = std::from_chars(name.data(), name.data() + dash, slot);
  const auto second = std::from_chars(name.data() + dash + 1, end, inode_number);
  if (first.ec != std::errc() || first.ptr != name.data() + dash) return std::nullopt;
  if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
  return Origin{LayerSlot(slot), inode_number};
}

}  // namespace

std::string HardlinkIndex::name_of(const Origin& origin) {
  return fmt::format("{}-{}", origin.slot.value(), origin.inode_number);
}

Result<std::vector<HardlinkIndex::Found>> HardlinkIndex::scan() const {
  VARVE_ASSIGN(const auto entries, read_directory({fd(), {}}));
  std::vector<Found> found;
  for (const DirectoryEntry& entry : entries) {
    const std::string_view name = entry.name;
    const bool confirmed = !name.ends_with(kUnconfirmed);
    const std::optional<Origin> origin =
        origin_from(confirmed ? name : name.substr(0, name.size() - kUnconfirmed.size()));
    if (!origin) {
      log_warning("work directory: index/{} is no entry of an index; ignored", entry.name);
      continue;
    }
    VARVE_ASSIGN(const struct stat status, stat_object({fd(), entry.name}));
    found.push_back({entry.name, *origin, confirmed, status.st_ino, status.st_nlink > 1});
  }
  return found;
}

Status HardlinkIndex::settle_link_counts(const MarkStore& marks) const {
  VARVE_ASSIGN(const auto entries, read_directory({fd(), {}}));
  for (const DirectoryEntry& entry : entries) VARVE_RETURN_IF_ERROR(marks.settle_nlink({fd(), entry.name}));
  return {};
}

void HardlinkIndex::remember(const Origin& origin, std::uint64_t inode_number) {
  const MutexLock lock(mutex_);
  inode_numbers_.insert_or_assign(origin, inode_number);
  held_.insert(inode_number);
}

bool HardlinkIndex::holds(std::uint64_t inode_number) const {
  const MutexLock lock(mutex_);
  return held_.contains(inode_number);
}

bool HardlinkIndex::has(const Origin& origin) const {
  const MutexLock lock(mutex_);
  return inode_numbers_.contains(origin);
}

Result<std::optional<UniqueFd>> HardlinkIndex::find(const Origin& origin) const {
  using FoundFd = std::optional<UniqueFd>;
  if (!has(origin)) return FoundFd{};
  Result<UniqueFd> fd = open_object({directory_.fd(), name_of(origin)}, O_PATH);
  if (fd.ok()) return FoundFd{std::move(fd).value()};
  if (fd.error().value == ENOENT) return FoundFd{};
  return fd.error();
}

Status HardlinkIndex::enter(const Origin& origin, ObjectRef object, std::uint64_t inode_number) {
  const std::string name = name_of(origin).append(kUnconfirmed);
  VARVE_ASSIGN(const int directory, directory_.make());
  if (::linkat(object.fd, TerminatedName(object.name).c_str(), directory, name.c_str(), 0) != 0)
    return Errno::last();
  remember(origin, inode_number);
  return {};
}

Status HardlinkIndex::confirm(const Origin& origin) {
  const std::string name = name_of(origin);
  const std::string unconfirmed = name + std::string(kUnconfirmed);
  return ::renameat(fd(), unconfirmed.c_str(), fd(), name.c_str()) == 0 ? Status() : Status(Errno::last());
}

Status HardlinkIndex::drop(const Origin& origin) {
  {
    const MutexLock lock(mutex_);
    const auto entry = inode_numbers_.find(origin);
    if (entry == inode_numbers_.end()) return Errno{ENOENT};
    held_.erase(entry->second);
    inode_numbers_.erase(entry);
  }
  const std::string name = name_of(origin);
  if (::unlinkat(fd(), name.c_str(), 0) == 0) return {};
  if (errno != ENOENT) return Errno::last();
  return ::unlinkat(fd(), (name + std::string(kUnconfirmed)).c_str(), 0) == 0 ? Status()
                                                                              : Status(Errno::last());
}

}  // namespace varve::upper
