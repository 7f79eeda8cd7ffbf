#pragma once

// CowHost: what a cow file needs of the store that it was opened from. An interface of its own so that the
// fault tests can run a cow file over simulated disks. Thread rule: every method may be called from any
// thread.

#include <cstdint>
#include <memory>

#include "fs/base/result.h"
#include "fs/block/block_file.h"
#include "fs/upper/cow/block_map_layout.h"

namespace varve::upper {

class CowFile;

class CowHost {
 public:
  virtual ~CowHost() = default;

  virtual const BootId& boot_id() const = 0;                 // of the running kernel
  virtual bool is_volatile() const = 0;                      // nothing is synced
  virtual bool keeps_access_times() const { return false; }  // reading moves none

  // Whether the file with this map was ever written to: its map was made then.
  virtual Result<bool> has_map(std::uint64_t map_id) const = 0;
  // The map of the file behind `data_fd`; null when none was made.
  // Returns: ESTALE when that file has no name any more and the map, if it had one, went with the last.
  virtual Result<std::unique_ptr<block::BlockFile>> open_map(std::uint64_t map_id, int data_fd) = 0;
  // Makes the map of the file behind `data_fd`. It has no name when that file has none any more.
  virtual Result<std::unique_ptr<block::BlockFile>> make_map(std::uint64_t map_id, int data_fd) = 0;
  // The names of all maps made so far are on stable storage when it returns.
  virtual Status sync_map_names() = 0;
  // Removes the base mark of the file behind `data_fd`: it is wholly its own from now on. That there is a map is noted on it until
  // delete_map(), so that after a kill in between the map goes with the file.
  virtual Status drop_base_mark(int data_fd, std::uint64_t map_id) = 0;
  virtual Status delete_map(int data_fd, std::uint64_t map_id) = 0;

  virtual void cow_file_opened(CowFile& file, std::uint64_t map_id) = 0;
  // So many blocks of a partly copied file are its own now.
  virtual void blocks_copied_up(std::uint64_t) {}
  // `live_claims`: the map of the file holds claims that are not durable yet.
  virtual void cow_file_closed(CowFile& file, std::uint64_t map_id, bool live_claims) = 0;
};

}  // namespace varve::upper
