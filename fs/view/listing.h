#pragma once

// Listing: what a directory held when somebody read it from the start, merged; and KernelListing: what the kernel may have kept of
// that in its own cache (FOPEN_CACHE_DIR). docs/decisions/0021 has the reasons. Private to fs/view.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fs/view/lower_stack.h"

namespace varve::view {

// Never changes once it is made, so that readers share it: entries that come and go meanwhile move no others.
struct Listing {
  struct Entry {
    std::string name;
    std::uint32_t type = 0;
    bool in_upper = false;
    std::uint64_t cookie = 0;  // where to go on after it: ascending in the list
    LowerRef lower;            // when not in_upper
  };
  // Of "." and "..", which are in every directory and not in `entries`.
  static constexpr std::uint64_t kSelfCookie = 1;
  static constexpr std::uint64_t kParentCookie = 2;

  std::vector<Entry> entries;
  std::uint32_t version = 0;  // DirectoryPart::names_version then

  // Whether all of it, "." and ".." first, ends where a page does as the kernel packs it: records of 24 bytes and the name, in
  // multiples of 8, none across the end of a page (Linux fs/fuse/readdir.c, fuse_add_dirent_to_cache).
  bool fills_its_last_page(std::size_t page_bytes) const {
    std::size_t used = record_bytes(1) + record_bytes(2);
    for (const Entry& entry : entries) {
      const std::size_t record = record_bytes(entry.name.size());
      used = used + record > page_bytes ? record : used + record;
    }
    return used == page_bytes;
  }

 private:
  static std::size_t record_bytes(std::size_t name_bytes) { return (24 + name_bytes + 7) / 8 * 8; }
};

// The kernel adds what readers are told to its copy of the listing, one copy for all of them, and answers from it when somebody has
// come to the end. Whoever starts again sees whether it is still good. But who is in the middle when somebody else starts anew goes
// on in the new copy, wherever that came from, and is told the end too soon when he does not find his place in a copy that ends
// with a page. So the copy may stay only when it is of one state of the directory and does not end so.
// Thread rule: none of its own; guarded by the node's mutex.
class KernelListing {
 public:
  // Somebody starts to read, and is given a listing of this version.
  void started(std::uint32_t version) {
    mixed_ = mixed_ || (version_ && *version_ != version);
    version_ = version;
  }
  // Somebody in the middle goes on with a listing of this version.
  void went_on(std::uint32_t version) { mixed_ = mixed_ || version_ != version; }
  // The end is to be told, of a listing that fills its last page or not; `now`: the directory's version. Returns: whether the
  // kernel may keep its copy. If not, its pages are to be dropped before it hears of the end.
  bool may_stay_at_end(std::uint32_t now, bool fills_its_last_page) {
    const bool stays = !mixed_ && version_ == now && !fills_its_last_page;
    mixed_ = false;
    return stays;
  }

 private:
  std::optional<std::uint32_t> version_;  // that somebody started with last
  bool mixed_ = false;                    // since the end was told last
};

}  // namespace varve::view
