#pragma once

// SeenEntries: by which directory entry each inode of a layer was come upon, so that its path can be told without a walk of the
// whole layer; and which directories were listed: their entries are noted, and were checked where that is due.
// Thread rule: every method from any thread; nothing is forgotten. Who sees that an entry is noted or a directory listed sees
// all that was noted or checked before it.
// Memory: 9 bytes an inode, of which the kernel gives only the parts that are written to.

#include <atomic>
#include <cstdint>
#include <optional>

#include "fs/base/result.h"
#include "fs/layer/metadata_bytes.h"

namespace varve::layer {

class SeenEntries {
 public:
  struct Place {
    std::uint32_t directory = 0;  // inode; not 0
    std::uint32_t entry = 0;      // index in DIRENT
  };

  SeenEntries() = default;
  // For inodes below `inode_count`. Requires: it is not 0. Returns: ENOMEM.
  static Result<SeenEntries> make(std::uint64_t inode_count) {
    SeenEntries seen;
    VARVE_ASSIGN(seen.memory_, MetadataBytes::reserve(inode_count * (sizeof(std::uint64_t) + 1)));
    seen.places_ = reinterpret_cast<std::uint64_t*>(seen.memory_.writable().data());
    seen.flags_ = reinterpret_cast<unsigned char*>(seen.places_ + inode_count);
    return seen;
  }

  // Of several entries of one inode the first that is noted remains. Requires of all: an inode below `inode_count`.
  void note(std::uint32_t inode, Place place) const {
    const std::atomic_ref<std::uint64_t> word(places_[inode]);
    if (word.load(std::memory_order_relaxed) != 0) return;
    word.store(std::uint64_t{place.directory} << 32 | place.entry, std::memory_order_release);
  }
  std::optional<Place> place(std::uint32_t inode) const {
    const std::uint64_t word = std::atomic_ref(places_[inode]).load(std::memory_order_acquire);
    if (word == 0) return std::nullopt;
    return Place{static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
  }

  bool is_listed(std::uint32_t directory) const { return has(directory, kListed); }
  void set_listed(std::uint32_t directory) const { set(directory, kListed); }
  // Whether the xattr set of an inode was checked: a set is as long as somebody hostile wants, and is asked for name by name.
  bool has_checked_xattrs(std::uint32_t inode) const { return has(inode, kCheckedXattrs); }
  void set_checked_xattrs(std::uint32_t inode) const { set(inode, kCheckedXattrs); }

 private:
  static constexpr unsigned char kListed = 1;
  static constexpr unsigned char kCheckedXattrs = 2;
  bool has(std::uint32_t inode, unsigned char flag) const {
    return (std::atomic_ref(flags_[inode]).load(std::memory_order_acquire) & flag) != 0;
  }
  void set(std::uint32_t inode, unsigned char flag) const {
    std::atomic_ref(flags_[inode]).fetch_or(flag, std::memory_order_release);
  }

  MetadataBytes memory_;
  std::uint64_t* places_ = nullptr;  // per inode: directory << 32 | entry; 0: not seen
  unsigned char* flags_ = nullptr;   // per inode
};

}  // namespace varve::layer
