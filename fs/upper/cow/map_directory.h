#pragma once

// MapDirectory: the block maps of all partly copied files, one file each in the work directory's maps, named
// by the 16 hexadecimal digits of the map id. Thread rule: every method may be called from any thread.

#include <cstdint>
#include <memory>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "fs/block/block_file.h"
#include "fs/upper/cow/block_map_layout.h"
#include "fs/upper/part_directory.h"

namespace varve::upper {

class MapDirectory {
 public:
  // The first three as for PartDirectory.
  MapDirectory(int parent, std::string name, UniqueFd found, const BootId& boot_id)
      : directory_(parent, std::move(name), std::move(found)), boot_id_(boot_id) {}

  const BootId& boot_id() const { return boot_id_; }
  // An id that no map has: 64 random bits, never 0.
  Result<std::uint64_t> new_id() EXCLUDES(mutex_);

  Result<bool> has(std::uint64_t map_id) const;
  // Null when there is none.
  Result<std::unique_ptr<block::BlockFile>> open(std::uint64_t map_id) const;
  // Makes the map of the file behind `data_fd`; it has no name when that file has none any more.
  Result<std::unique_ptr<block::BlockFile>> make(std::uint64_t map_id, int data_fd) EXCLUDES(mutex_);
  Status remove(std::uint64_t map_id);
  // The names of all maps made so far are on stable storage when it returns.
  Status sync_names() EXCLUDES(mutex_);
  // promote_live_claims of one map, or of all of them. A map that is gone is fine.
  // Requires: the data of their files is on stable storage.
  Status promote(std::uint64_t map_id) const;
  Status promote_all() const;

 private:
  Result<std::unique_ptr<block::BlockFile>> open_name(const std::string& name, int flags) const;

  PartDirectory directory_;
  const BootId boot_id_;
  Mutex mutex_;
  bool names_unsynced_ GUARDED_BY(mutex_) = false;
  // Drawn from the kernel together, and given out from the end.
  static constexpr std::size_t kIdsAtOnce = 32;  // 256 bytes: getrandom(2) gives so many whole
  std::vector<std::uint64_t> ids_ GUARDED_BY(mutex_);
};

}  // namespace varve::upper
