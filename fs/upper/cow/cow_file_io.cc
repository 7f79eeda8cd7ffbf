// Reading and changing the bytes of a cow file.

#include <linux/falloc.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "fs/base/checked.h"
#include "fs/base/log.h"
#include "fs/upper/cow/cow_file_impl.h"

namespace varve::upper {
namespace {

constexpr auto kMaxSizeBytes = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

// End of [offset, offset + size). Returns: EFBIG past what a file can hold.
Result<std::uint64_t> end_of(std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  const auto end = checked_add(offset_bytes, size_bytes);
  if (!end || *end > kMaxSizeBytes) return Errno{EFBIG};
  return *end;
}

// Reads all of `out` from the base, which is known to be that long.
Status read_base(const layer::LowerFile& base, std::uint64_t offset_bytes, std::span<std::byte> out) {
  while (!out.empty()) {
    VARVE_ASSIGN(const std::size_t got, base.read(offset_bytes, out));
    if (got == 0) {
      log_error("the base of a partly copied file ended at {} bytes, before its size", offset_bytes);
      return Errno{EIO};
    }
    out = out.subspan(got);
    offset_bytes += got;
  }
  return {};
}

}  // namespace

// --- reading ---

CowFileImpl::Segment CowFileImpl::segment_at(std::uint64_t offset_bytes, std::uint64_t end_bytes) const {
  const std::uint64_t block = offset_bytes / kBlockSizeBytes;
  if (is_complete() || block >= base_blocks_) return {end_bytes, Source::kUpper, nullptr};
  if (map_.claimed().test(block)) {
    const std::uint64_t run_end = map_.claimed().next_clear(block);
    // Past the base everything is the upper's, too.
    if (run_end == base_blocks_) return {end_bytes, Source::kUpper, nullptr};
    return {std::min(end_bytes, run_end * kBlockSizeBytes), Source::kUpper, nullptr};
  }
  const std::uint64_t run_end_bytes = std::min(end_bytes, map_.claimed().next_set(block) * kBlockSizeBytes);
  if (offset_bytes >= inherit_end_bytes_) return {run_end_bytes, Source::kZero, nullptr};
  return {std::min(run_end_bytes, inherit_end_bytes_), Source::kBase, base_};
}

Result<std::size_t> CowFileImpl::read(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  if (is_complete()) return data_->read_at(offset_bytes, out);
  VARVE_ASSIGN(const std::uint64_t size_bytes, data_->size_bytes());
  if (offset_bytes >= size_bytes) return std::size_t{0};
  out = out.first(std::min<std::uint64_t>(out.size(), size_bytes - offset_bytes));
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t position = offset_bytes + done;
    Segment segment;
    {
      const ReaderLock lock(mutex_);
      segment = segment_at(position, offset_bytes + out.size());
    }
    const std::span<std::byte> part = out.subspan(done, segment.end_bytes - position);
    if (segment.source == Source::kZero) {
      std::ranges::fill(part, std::byte{0});
    } else if (segment.source == Source::kBase) {
      VARVE_RETURN_IF_ERROR(read_base(*segment.base, position, part));
    } else {
      VARVE_ASSIGN(const std::size_t got, data_->read_at(position, part));
      if (got < part.size()) return done + got;  // truncated meanwhile
    }
    done += part.size();
  }
  return done;
}

// --- writing ---

CowFileImpl::Change CowFileImpl::change_of(std::uint64_t begin_bytes, std::uint64_t end_bytes,
                                           std::uint64_t size_bytes) const {
  const std::uint64_t end_block = (end_bytes + kBlockSizeBytes - 1) / kBlockSizeBytes;
  return {.begin_bytes = begin_bytes,
          .end_bytes = end_bytes,
          .size_bytes = size_bytes,
          .first_block = std::min(begin_bytes / kBlockSizeBytes, base_blocks_),
          .end_block = std::min(end_block, base_blocks_)};
}

// Whether `block` is unclaimed and shows bytes outside of the change, which the upper must then be given.
bool CowFileImpl::needs_merge(const Change& change, std::uint64_t block) const {
  if (block >= base_blocks_ || map_.claimed().test(block)) return false;
  const std::uint64_t begin = block * kBlockSizeBytes;
  const std::uint64_t shown_end = std::min(begin + kBlockSizeBytes, change.size_bytes);
  return change.begin_bytes > begin || change.end_bytes < shown_end;
}

Status CowFileImpl::write_merged_locked(const Change& change, std::uint64_t block,
                                        std::span<const std::byte> data) {
  std::array<std::byte, kBlockSizeBytes> buffer{};
  const std::uint64_t begin = block * kBlockSizeBytes;
  const std::uint64_t end = std::min(begin + kBlockSizeBytes, std::max(change.size_bytes, change.end_bytes));
  const std::uint64_t inherited_end = std::min(end, inherit_end_bytes_);
  // Read under the lock: another write to this block between the read and the claim would be lost.
  if (begin < inherited_end) {
    VARVE_RETURN_IF_ERROR(read_base(*base_, begin, std::span(buffer).first(inherited_end - begin)));
  }
  const std::uint64_t from = std::max(begin, change.begin_bytes);
  const std::uint64_t upto = std::min(end, change.end_bytes);
  if (from < upto && data.empty()) {
    std::memset(buffer.data() + (from - begin), 0, upto - from);
  } else if (from < upto) {
    std::memcpy(buffer.data() + (from - begin), data.data() + (from - change.begin_bytes), upto - from);
  }
  return data_->write_at(begin, std::span(buffer).first(end - begin));
}

Status CowFileImpl::write_blocks_locked(const Change& change, std::span<const std::byte> data) {
  const bool claims = !map_.claimed().all_set(change.first_block, change.end_block);
  if (claims) VARVE_RETURN_IF_ERROR(map_.reserve(change.first_block, change.end_block));
  std::uint64_t begin = change.begin_bytes;
  std::uint64_t end = change.end_bytes;
  const std::uint64_t head = change.begin_bytes / kBlockSizeBytes;
  const std::uint64_t tail = (change.end_bytes - 1) / kBlockSizeBytes;
  if (needs_merge(change, head)) {
    VARVE_RETURN_IF_ERROR(write_merged_locked(change, head, data));
    begin = std::min(end, (head + 1) * kBlockSizeBytes);
  }
  const bool merge_tail = tail != head && needs_merge(change, tail);
  if (merge_tail) end = tail * kBlockSizeBytes;
  if (begin < end) {
    VARVE_RETURN_IF_ERROR(data_->write_at(begin, data.subspan(begin - change.begin_bytes, end - begin)));
  }
  if (merge_tail) VARVE_RETURN_IF_ERROR(write_merged_locked(change, tail, data));
  if (claims) {
    std::uint64_t new_blocks = 0;
    for (std::uint64_t block = change.first_block; block < std::min(change.end_block, base_blocks_);
         ++block) {
      if (!map_.claimed().test(block)) ++new_blocks;
    }
    VARVE_RETURN_IF_ERROR(map_.claim(change.first_block, change.end_block));
    host_.blocks_copied_up(new_blocks);
  }
  // Blocks written whole hold good data again, whatever a failed sync dropped.
  const std::uint64_t whole_begin = (change.begin_bytes + kBlockSizeBytes - 1) / kBlockSizeBytes;
  const std::uint64_t whole_end = std::min(change.end_bytes / kBlockSizeBytes, lost_.size_blocks());
  if (whole_begin < whole_end) lost_.clear_range(whole_begin, whole_end);
  return {};
}

Status CowFileImpl::write_upper_locked(std::uint64_t offset_bytes, std::span<const std::byte> data,
                                       std::uint64_t size_bytes) {
  const std::uint64_t end_bytes = offset_bytes + data.size();
  Status written;
  if (settled_) {
    written = data_->write_at(offset_bytes, data);
  } else {
    if (end_bytes > size_bytes) VARVE_RETURN_IF_ERROR(prepare_growth_locked(size_bytes));
    written = write_blocks_locked(change_of(offset_bytes, end_bytes, size_bytes), data);
  }
  if (!written.ok() && end_bytes > size_bytes) {
    const Status restored = data_->truncate(size_bytes);
    if (!restored.ok())
      log_error("a failed write could not be taken back: {}", std::strerror(restored.error().value));
  }
  if (!settled_) update_complete_locked(written.ok() ? std::max(size_bytes, end_bytes) : size_bytes);
  return written;
}

Status CowFileImpl::write(std::uint64_t offset_bytes, std::span<const std::byte> data) {
  if (data.empty()) return {};
  VARVE_ASSIGN(const std::uint64_t end_bytes, end_of(offset_bytes, data.size()));
  if (is_complete()) {
    const ReaderLock lock(mutex_);
    VARVE_ASSIGN(const std::uint64_t size_bytes, data_->size_bytes());
    // Within a complete file the kernel keeps writers apart; growth needs the lock to be taken back on an
    // error.
    if (end_bytes <= size_bytes && lost_.size_blocks() == 0 && is_complete())
      return data_->write_at(offset_bytes, data);
  }
  const WriterLock lock(mutex_);
  VARVE_ASSIGN(const std::uint64_t size_bytes, data_->size_bytes());
  return write_upper_locked(offset_bytes, data, size_bytes);
}

// --- changing the size ---

Status CowFileImpl::truncate(std::uint64_t size_bytes) {
  if (size_bytes > kMaxSizeBytes) return Errno{EFBIG};
  const WriterLock lock(mutex_);
  if (settled_) return data_->truncate(size_bytes);
  VARVE_ASSIGN(const std::uint64_t old_size_bytes, data_->size_bytes());
  if (size_bytes > old_size_bytes) {
    VARVE_RETURN_IF_ERROR(prepare_growth_locked(old_size_bytes));
    VARVE_RETURN_IF_ERROR(data_->truncate(size_bytes));
    update_complete_locked(size_bytes);
    return {};
  }
  VARVE_RETURN_IF_ERROR(data_->truncate(size_bytes));
  inherit_end_bytes_ = std::min(inherit_end_bytes_, size_bytes);
  Status ahead;
  if (size_bytes == 0) {
    // Nothing is left to inherit. The truncation must be on disk before the mark goes: without the mark the
    // old size would show zeros.
    ahead = sync_data_locked();
    if (ahead.ok()) ahead = settle_locked();
  } else if (is_complete()) {
    // Writers of a complete file need not come here before they grow it, so what was cut off is made safe now.
    ahead = prepare_growth_locked(size_bytes);
  }
  // The size is changed, whatever failed since: the next growth or sync tries again, and a failed sync is kept in mind.
  if (!ahead.ok() && !settled_) complete_ = false;
  return {};
}

// --- fallocate ---

Status CowFileImpl::allocate(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  const int action = mode & ~FALLOC_FL_KEEP_SIZE;
  const bool known =
      action == 0 || action == FALLOC_FL_ZERO_RANGE || mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  if (!known) return Errno{EOPNOTSUPP};
  if (size_bytes == 0) return Errno{EINVAL};
  VARVE_RETURN_IF_ERROR(end_of(offset_bytes, size_bytes));
  const WriterLock lock(mutex_);
  if (settled_) return data_->allocate(mode, offset_bytes, size_bytes);
  return allocate_locked(mode, offset_bytes, size_bytes);
}

Status CowFileImpl::allocate_locked(int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  VARVE_ASSIGN(const std::uint64_t old_size_bytes, data_->size_bytes());
  const std::uint64_t end_bytes = offset_bytes + size_bytes;
  const bool grows = (mode & FALLOC_FL_KEEP_SIZE) == 0 && end_bytes > old_size_bytes;
  if (grows) VARVE_RETURN_IF_ERROR(prepare_growth_locked(old_size_bytes));
  const std::uint64_t shown_end = grows ? end_bytes : std::min(end_bytes, old_size_bytes);
  const bool zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  if (!zeroes || offset_bytes >= shown_end) {
    // Space alone: unclaimed blocks stay the base's, and find their place when they are written.
    VARVE_RETURN_IF_ERROR(data_->allocate(mode, offset_bytes, size_bytes));
  } else {
    const Change change = change_of(offset_bytes, shown_end, old_size_bytes);
    VARVE_RETURN_IF_ERROR(map_.reserve(change.first_block, change.end_block));
    const std::uint64_t head = change.begin_bytes / kBlockSizeBytes;
    const std::uint64_t tail = (change.end_bytes - 1) / kBlockSizeBytes;
    if (needs_merge(change, head)) VARVE_RETURN_IF_ERROR(write_merged_locked(change, head, {}));
    if (tail != head && needs_merge(change, tail))
      VARVE_RETURN_IF_ERROR(write_merged_locked(change, tail, {}));
    VARVE_RETURN_IF_ERROR(data_->allocate(mode, offset_bytes, size_bytes));
    VARVE_RETURN_IF_ERROR(map_.claim(change.first_block, change.end_block));
  }
  update_complete_locked(grows ? end_bytes : old_size_bytes);
  return {};
}

}  // namespace varve::upper
