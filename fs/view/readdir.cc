// Merged listings. A directory is listed when somebody reads it from the start, and that list serves all who read on until one of
// them has come to the end: entries that neither come nor go while somebody reads are returned exactly once. A list is in the order
// of the names' hashes, and a cookie is such a hash, so that it means the same in every list of the directory, whoever it was made
// for (docs/decisions/0021). In a read-only view a directory lists the same each time, so there a cookie is a position.

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {
namespace {

constexpr std::uint64_t kFirstCookie = Listing::kParentCookie + 1;

// In 31 bits: in programs of 32 bits readdir(3) fails over a larger d_off (glibc bug 23960).
std::uint64_t cookie_of(std::string_view name) {
  const std::uint64_t hash = std::hash<std::string_view>{}(name);
  return std::max(hash & 0x7fffffff, kFirstCookie);
}

// Sorts the entries and gives them their cookies. Names of one hash get numbers that follow each other.
void order_by_cookie(std::vector<Listing::Entry>& entries) {
  for (Listing::Entry& entry : entries) entry.cookie = cookie_of(entry.name);
  std::sort(entries.begin(), entries.end(), [](const Listing::Entry& left, const Listing::Entry& right) {
    return left.cookie != right.cookie ? left.cookie < right.cookie : left.name < right.name;
  });
  std::uint64_t least = kFirstCookie;
  for (Listing::Entry& entry : entries) {
    entry.cookie = std::max(entry.cookie, least);
    least = entry.cookie + 1;
  }
}

void number_by_position(std::vector<Listing::Entry>& entries) {
  std::uint64_t cookie = kFirstCookie;
  for (Listing::Entry& entry : entries) entry.cookie = cookie++;
}

}  // namespace

Result<std::vector<Listing::Entry>> UnionView::list_directory(const NodePtr& directory) {
  std::vector<Listing::Entry> entries;
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
      entries.push_back(Listing::Entry{.name = std::move(entry.name),
                                       .type = static_cast<std::uint32_t>(DTTOIF(entry.type)),
                                       .in_upper = true,
                                       .cookie = 0,
                                       .lower = {}});
    }
  }
  VARVE_RETURN_IF_ERROR(stack_->for_each(
      directory->directory().lower, [&](std::string_view name, LowerRef top, std::uint32_t type) {
        std::string owned(name);
        if (!seen.contains(owned)) {
          entries.push_back(Listing::Entry{
              .name = std::move(owned), .type = type, .in_upper = false, .cookie = 0, .lower = top});
        }
        return true;
      }));
  return entries;
}

Result<std::uint64_t> UnionView::listed_inode_number(Node& directory, const Listing::Entry& entry) {
  if (!entry.in_upper) return stack_->inode_number(entry.lower);
  VARVE_ASSIGN(const Name name, Name::parse(entry.name));
  VARVE_ASSIGN(const Found found, find_name(directory, name));
  if (!found.exists()) return Errno{ENOENT};
  return found.upper.kind == upper::UpperEntry::Kind::kObject ? inode_number_of(found.upper, found.lower)
                                                              : stack_->inode_number(found.lower->top);
}

Result<std::shared_ptr<const Listing>> UnionView::listing_at(const NodePtr& directory, std::uint64_t cookie) {
  if (read_only() || cookie != 0) {
    if (std::shared_ptr<const Listing> known = listings_.find(directory->id())) return known;
  }
  auto made = std::make_shared<Listing>();
  {
    const ReaderLock entries(directory->directory().entries);
    made->version = directory->directory().names_version.load(std::memory_order_relaxed);
    VARVE_ASSIGN(made->entries, list_directory(directory));
  }
  if (read_only()) {
    number_by_position(made->entries);
  } else {
    order_by_cookie(made->entries);
    const MutexLock lock(directory->mutex);
    KernelListing& kernels = directory->directory().kernel_listing;
    cookie == 0 ? kernels.started(made->version) : kernels.went_on(made->version);
  }
  const std::size_t weight = made->entries.size();
  return listings_.replace(directory->id(), std::move(made), weight);
}

UnionView::Listed UnionView::told_the_end(Node& directory, const Listing& listing) {
  // The kernel has it all now, or nobody.
  listings_.drop(directory.id());
  if (read_only()) return Listed::kEnd;
  static const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const MutexLock lock(directory.mutex);
  const bool stays = directory.directory().kernel_listing.may_stay_at_end(
      directory.directory().names_version.load(std::memory_order_relaxed),
      listing.fills_its_last_page(page_bytes));
  return stays ? Listed::kEnd : Listed::kEndAndNotToBeKept;
}

Result<UnionView::Listed> UnionView::readdir(NodeId id, std::uint64_t cookie, const DirectoryVisitor& visit,
                                             std::size_t numbers_from) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr directory, directory_node(id));
  VARVE_ASSIGN(const std::shared_ptr<const Listing> listing, listing_at(directory, cookie));
  if (!visit_dots(*directory, cookie, visit)) return Listed::kMore;
  bool visited = cookie < Listing::kParentCookie;
  auto next = std::partition_point(listing->entries.begin(), listing->entries.end(),
                                   [&](const Listing::Entry& entry) { return entry.cookie <= cookie; });
  for (; next != listing->entries.end(); ++next) {
    const auto position = static_cast<std::size_t>(next - listing->entries.begin());
    std::uint64_t inode_number = 0;
    if (!next->in_upper || position >= numbers_from) {
      const Result<std::uint64_t> number = listed_inode_number(*directory, *next);
      // Removed since the list was made. Anything else must not look like that.
      if (!number.ok() && number.error().value == ENOENT) continue;
      VARVE_ASSIGN(inode_number, number);
    }
    visited = true;
    if (!visit(DirectoryEntry{.name = next->name,
                              .inode_number = inode_number,
                              .type = next->type,
                              .next_cookie = next->cookie,
                              .in_upper = next->in_upper,
                              .position = position})) {
      break;
    }
  }
  return visited ? Listed::kMore : told_the_end(*directory, *listing);
}

bool UnionView::visit_dots(Node& directory, std::uint64_t cookie, const DirectoryVisitor& visit) {
  if (cookie < Listing::kSelfCookie && !visit({.name = ".",
                                               .inode_number = directory.inode_number(),
                                               .type = S_IFDIR,
                                               .next_cookie = Listing::kSelfCookie})) {
    return false;
  }
  if (cookie >= Listing::kParentCookie) return true;
  std::uint64_t parent_inode = directory.inode_number();
  {
    const MutexLock state(directory.mutex);
    if (!directory.aliases.empty()) parent_inode = directory.aliases.front().parent->inode_number();
  }
  return visit(
      {.name = "..", .inode_number = parent_inode, .type = S_IFDIR, .next_cookie = Listing::kParentCookie});
}

Status UnionView::fsyncdir(NodeId id) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr directory, directory_node(id));
  if (!directory->in_upper) return {};
  VARVE_ASSIGN(const Place place, place_of(*directory));
  VARVE_ASSIGN(const UniqueFd fd, store_->open_directory(place.ref()));
  return ::fsync(fd.get()) == 0 ? Status() : Status(Errno::last());
}

}  // namespace varve::view
