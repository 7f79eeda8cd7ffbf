// Merged listings. A handle lists its directory when it is read first or from the start and keeps that list: entries that neither
// come nor go while somebody reads are returned exactly once. A list is in the order of the names' hashes, and a cookie is such a
// hash, so that it means the same in every list of the directory: the kernel may have got the entries before it from another handle
// (docs/decisions/0021). In a read-only view a directory lists the same each time, so there a cookie is a position.

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {
namespace {

constexpr std::uint64_t kFirstCookie = 3;  // after those of "." and ".."

// In 31 bits: in programs of 32 bits readdir(3) fails over a larger d_off (glibc bug 23960).
std::uint64_t cookie_of(std::string_view name) {
  const std::uint64_t hash = std::hash<std::string_view>{}(name);
  return std::max(hash & 0x7fffffff, kFirstCookie);
}

// Sorts the entries and gives them their cookies. Names of one hash get numbers that follow each other.
void order_by_cookie(std::vector<DirectoryHandle::Entry>& entries) {
  for (DirectoryHandle::Entry& entry : entries) entry.cookie = cookie_of(entry.name);
  std::sort(entries.begin(), entries.end(),
            [](const DirectoryHandle::Entry& left, const DirectoryHandle::Entry& right) {
              return left.cookie != right.cookie ? left.cookie < right.cookie : left.name < right.name;
            });
  std::uint64_t least = kFirstCookie;
  for (DirectoryHandle::Entry& entry : entries) {
    entry.cookie = std::max(entry.cookie, least);
    least = entry.cookie + 1;
  }
}

void number_by_position(std::vector<DirectoryHandle::Entry>& entries) {
  std::uint64_t cookie = kFirstCookie;
  for (DirectoryHandle::Entry& entry : entries) entry.cookie = cookie++;
}

}  // namespace

Result<UnionView::Listing> UnionView::list_directory(const NodePtr& directory) {
  Listing entries;
  std::unordered_set<std::string> seen;
  const bool merged = directory->directory().lower != nullptr;
  if (directory->in_upper) {
    VARVE_ASSIGN(const std::shared_ptr<const UniqueFd> fd, directory_fd(*directory));
    VARVE_ASSIGN(std::vector<upper::UpperStore::ListedEntry> listed,
                 store_->list(upper::ObjectRef{fd->get(), ""}));
    entries.reserve(listed.size());
    for (upper::UpperStore::ListedEntry& entry : listed) {
      if (merged) seen.insert(entry.name);
      if (entry.whiteout) continue;
      entries.push_back(DirectoryHandle::Entry{.name = std::move(entry.name),
                                               .type = static_cast<std::uint32_t>(DTTOIF(entry.type)),
                                               .in_upper = true,
                                               .inode_number = 0,
                                               .cookie = 0,
                                               .lower = {}});
    }
  }
  VARVE_RETURN_IF_ERROR(stack_->for_each(
      directory->directory().lower, [&](std::string_view name, LowerRef top, std::uint32_t type) {
        std::string owned(name);
        if (!seen.contains(owned)) {
          entries.push_back(DirectoryHandle::Entry{.name = std::move(owned),
                                                   .type = type,
                                                   .in_upper = false,
                                                   .inode_number = 0,
                                                   .cookie = 0,
                                                   .lower = top});
        }
        return true;
      }));
  return entries;
}

Result<std::uint64_t> UnionView::listed_inode_number(Node& directory, const DirectoryHandle::Entry& entry) {
  if (!entry.in_upper) return stack_->inode_number(entry.lower);
  VARVE_ASSIGN(const Name name, Name::parse(entry.name));
  VARVE_ASSIGN(const Found found, find_name(directory, name));
  if (!found.exists()) return Errno{ENOENT};
  return found.upper.kind == upper::UpperEntry::Kind::kObject ? inode_number_of(found.upper, found.lower)
                                                              : stack_->inode_number(found.lower->top);
}

Result<HandleId> UnionView::opendir(NodeId id) {
  VARVE_ASSIGN(NodePtr directory, directory_node(id));
  auto handle = std::make_shared<DirectoryHandle>();
  {
    const MutexLock lock(directory->mutex);
    handle->kernel_caches = read_only() || !directory->directory().read_from_cache;
    if (handle->kernel_caches) directory->directory().read_from_cache = true;
  }
  handle->node = std::move(directory);
  return handles_.directories.add(std::move(handle));
}

bool UnionView::kernel_may_cache(HandleId handle_id) const {
  const std::shared_ptr<DirectoryHandle> handle = handles_.directories.find(handle_id);
  return handle != nullptr && handle->kernel_caches;
}

Status UnionView::readdir(HandleId handle_id, std::uint64_t cookie, const DirectoryVisitor& visit,
                          InodeNumbers numbers) {
  const std::shared_ptr<DirectoryHandle> handle = handles_.directories.find(handle_id);
  if (handle == nullptr) return Errno{EBADF};
  const ReaderLock tree(tree_);
  Node& directory = *handle->node;
  const MutexLock lock(handle->mutex);
  // A handle that has not listed may be asked from the middle on: seekdir, or a kernel that began with another one's entries.
  if (cookie == 0 || !handle->listed) {
    const ReaderLock entries(directory.directory().entries);
    VARVE_ASSIGN(handle->entries, list_directory(handle->node));
    if (read_only()) {
      number_by_position(handle->entries);
    } else {
      order_by_cookie(handle->entries);
    }
    handle->listed = true;
  }
  if (!visit_dots(directory, cookie, visit)) return {};
  auto next =
      std::partition_point(handle->entries.begin(), handle->entries.end(),
                           [&](const DirectoryHandle::Entry& entry) { return entry.cookie <= cookie; });
  for (; next != handle->entries.end(); ++next) {
    DirectoryHandle::Entry& entry = *next;
    if (entry.inode_number == 0 && numbers == InodeNumbers::kTold) {
      const Result<std::uint64_t> number = listed_inode_number(directory, entry);
      // Removed since the list was made. Anything else must not look like that.
      if (!number.ok() && number.error().value == ENOENT) continue;
      VARVE_ASSIGN(entry.inode_number, number);
    }
    if (!visit(DirectoryEntry{entry.name, entry.inode_number, entry.type, entry.cookie})) return {};
  }
  return {};
}

bool UnionView::visit_dots(Node& directory, std::uint64_t cookie, const DirectoryVisitor& visit) {
  if (cookie < 1 && !visit(DirectoryEntry{".", directory.inode_number(), S_IFDIR, 1})) return false;
  if (cookie >= 2) return true;
  std::uint64_t parent_inode = directory.inode_number();
  {
    const MutexLock state(directory.mutex);
    if (!directory.aliases.empty()) parent_inode = directory.aliases.front().parent->inode_number();
  }
  return visit(DirectoryEntry{"..", parent_inode, S_IFDIR, 2});
}

Result<std::shared_ptr<const UnionView::Listing>> UnionView::kept_listing(const NodePtr& directory) {
  if (std::shared_ptr<const Listing> known = listings_.find(directory->id())) return known;
  VARVE_ASSIGN(Listing listed, list_directory(directory));
  for (DirectoryHandle::Entry& entry : listed) {
    VARVE_ASSIGN(entry.inode_number, stack_->inode_number(entry.lower));
  }
  const std::size_t weight = listed.size();
  return listings_.keep(directory->id(), std::make_shared<const Listing>(std::move(listed)), weight);
}

Status UnionView::readdir_node(NodeId id, std::uint64_t cookie, const DirectoryVisitor& visit) {
  VARVE_CHECK(read_only());
  VARVE_ASSIGN(const NodePtr directory, directory_node(id));
  VARVE_ASSIGN(const std::shared_ptr<const Listing> entries, kept_listing(directory));
  if (!visit_dots(*directory, cookie, visit)) return {};
  for (std::uint64_t at = cookie < 2 ? 0 : cookie - 2; at < entries->size(); ++at) {
    const DirectoryHandle::Entry& entry = (*entries)[at];
    if (!visit(DirectoryEntry{entry.name, entry.inode_number, entry.type, at + 3})) return {};
  }
  return {};
}

Status UnionView::fsyncdir(HandleId handle_id) {
  const std::shared_ptr<DirectoryHandle> handle = handles_.directories.find(handle_id);
  if (handle == nullptr) return Errno{EBADF};
  const ReaderLock tree(tree_);
  if (!handle->node->in_upper) return {};
  VARVE_ASSIGN(const Place place, place_of(*handle->node));
  VARVE_ASSIGN(const UniqueFd fd, store_->open_directory(place.ref()));
  return ::fsync(fd.get()) == 0 ? Status() : Status(Errno::last());
}

void UnionView::releasedir(HandleId id) {
  const std::shared_ptr<DirectoryHandle> handle = handles_.directories.remove(id);
  if (handle == nullptr || !handle->kernel_caches) return;
  const MutexLock lock(handle->node->mutex);
  handle->node->directory().read_from_cache = false;
}

}  // namespace varve::view
