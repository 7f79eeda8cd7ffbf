// How a cow file's claims become durable, and how it stops being a partly copied file.

#include <algorithm>
#include <utility>

#include "fs/upper/cow/cow_file_impl.h"
#include "fs/upper/object_path.h"

namespace varve::upper {

bool CowFileImpl::tail_is_safe(std::uint64_t size_bytes) const {
  if (settled_ || size_bytes >= base_size_bytes_) return true;
  const std::uint64_t first = size_bytes / kBlockSizeBytes;
  return (host_.is_volatile() ? map_.claimed() : map_.durable()).all_set(first, base_blocks_);
}

// Order: the cut block's inherited part; then everything of the upper, the truncation foremost, onto stable
// storage; only then durable claims of all that was cut off; only then may the caller let the file grow. So
// at each point of a power loss the file is either still short or shows zeros where it was cut, never the
// base again. The claims must not come first: with the truncation lost, they would show zeros in a file of
// the old size.
Status CowFileImpl::prepare_growth_locked(std::uint64_t size_bytes) {
  if (tail_is_safe(size_bytes)) return {};
  const std::uint64_t first = size_bytes / kBlockSizeBytes;
  VARVE_RETURN_IF_ERROR(map_.reserve(first, base_blocks_));
  const Change nothing = change_of(size_bytes, size_bytes, size_bytes);
  if (size_bytes % kBlockSizeBytes != 0 && !map_.claimed().test(first)) {
    VARVE_RETURN_IF_ERROR(write_merged_locked(nothing, first, {}));
  }
  VARVE_RETURN_IF_ERROR(sync_data_locked());
  VARVE_RETURN_IF_ERROR(map_.claim(first, base_blocks_));
  if (host_.is_volatile()) return {};
  BlockBitmap tail(base_blocks_);
  tail.set_range(first, base_blocks_);
  // What lies behind the cut has no data to lose any more; the cut block itself may.
  if (lost_.size_blocks() != 0 && first + 1 < base_blocks_) lost_.clear_range(first + 1, base_blocks_);
  if (lost_.size_blocks() != 0 && lost_.test(first)) return Errno{EIO};
  VARVE_RETURN_IF_ERROR(map_.write_durable(tail));
  VARVE_RETURN_IF_ERROR(map_.file()->sync(true));
  VARVE_RETURN_IF_ERROR(host_.sync_map_names());
  map_.mark_durable(tail);
  return {};
}

void CowFileImpl::update_complete_locked(std::uint64_t size_bytes) {
  if (is_complete() || !map_.claimed().all_set(0, base_blocks_) || !tail_is_safe(size_bytes)) return;
  complete_.store(true, std::memory_order_release);
  base_.reset();
}

// Order: the data is on stable storage (required); the mark goes; its going is on stable storage; the map
// goes. A map that went first would make a mark that stayed show the base again.
Status CowFileImpl::settle_locked() {
  VARVE_RETURN_IF_ERROR(host_.drop_base_mark(fd_, map_id_));
  // Without its mark the file is an ordinary one, also if what follows fails.
  settled_ = true;
  complete_.store(true, std::memory_order_release);
  base_.reset();
  lost_ = BlockBitmap();
  VARVE_RETURN_IF_ERROR(sync_data_locked());
  return host_.delete_map(fd_, map_id_);
}

Status CowFileImpl::sync_data_locked() {
  if (host_.is_volatile()) return {};
  const BlockBitmap unsynced = settled_ ? BlockBitmap() : map_.live_only();
  const Status synced = data_->sync(false);
  if (!synced.ok() && !settled_) note_lost_locked(unsynced);
  return synced;
}

// The kernel reports a failed write-back once and may then drop the pages (fsync(2)); a later sync that
// succeeds says nothing of them. So they must not be claimed for ever after it.
void CowFileImpl::note_lost_locked(const BlockBitmap& blocks) {
  if (lost_.size_blocks() == 0) lost_ = BlockBitmap(base_blocks_);
  lost_.merge(blocks);
}

Status CowFileImpl::sync(bool data_only) {
  if (host_.is_volatile()) return {};
  BlockBitmap blocks;
  bool settled = false;
  {
    const ReaderLock lock(mutex_);
    settled = settled_;
    if (!settled) blocks = map_.live_only();
  }
  // Without the lock: a sync takes long. Blocks that are written meanwhile are not in `blocks`.
  const Status synced = data_->sync(data_only);
  if (settled) return synced;
  if (!synced.ok()) {
    const WriterLock lock(mutex_);
    if (!settled_) note_lost_locked(blocks);
    return synced;
  }
  return sync_claims(std::move(blocks));
}

Status CowFileImpl::sync_claims(BlockBitmap blocks) {
  std::shared_ptr<block::BlockFile> map_file;
  bool lost = false;
  {
    const WriterLock lock(mutex_);
    // Another thread settled the file after our sync: the claims rest on its mark being gone.
    if (settled_) return sync_data_locked();
    lost = lost_.size_blocks() != 0 && !lost_.none_set();
    BlockBitmap claimed_then = blocks;
    claimed_then.merge(map_.durable());
    if (!lost && is_complete() && claimed_then.all_set(0, base_blocks_)) {
      // Once in the life of a file the lock is held across a sync.
      const Status done = settle_locked();
      // A disk too full to settle it, or a quota, takes claims still.
      if (settled_ || !is_out_of_space(done.error())) return done;
    }
    if (lost) blocks.subtract(lost_);
    if (!blocks.none_set()) {
      VARVE_RETURN_IF_ERROR(map_.write_durable(blocks));
      map_file = map_.file();
    }
  }
  if (map_file != nullptr) {
    VARVE_RETURN_IF_ERROR(map_file->sync(true));
    VARVE_RETURN_IF_ERROR(host_.sync_map_names());
    const WriterLock lock(mutex_);
    if (!settled_) map_.mark_durable(blocks);
  }
  return lost ? Status(Errno{EIO}) : Status();
}

}  // namespace varve::upper
