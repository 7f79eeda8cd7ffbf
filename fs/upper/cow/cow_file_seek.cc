// Holes of a cow file, and the space it takes.

#include <unistd.h>

#include <algorithm>

#include "fs/upper/cow/cow_file_impl.h"

namespace varve::upper {

Result<std::uint64_t> CowFileImpl::seek(std::uint64_t offset_bytes, int whence) const {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return Errno{EINVAL};
  if (is_complete()) {
    VARVE_ASSIGN(const auto found,
                 whence == SEEK_DATA ? data_->seek_data(offset_bytes) : data_->seek_hole(offset_bytes));
    if (!found) return Errno{ENXIO};
    return *found;
  }
  // Held across reads of the base's index: the answer must fit one state of the claims.
  const ReaderLock lock(mutex_);
  VARVE_ASSIGN(const std::uint64_t size_bytes, data_->size_bytes());
  if (offset_bytes >= size_bytes) return Errno{ENXIO};
  return whence == SEEK_DATA ? seek_data_locked(offset_bytes, size_bytes)
                             : seek_hole_locked(offset_bytes, size_bytes);
}

Result<std::uint64_t> CowFileImpl::seek_data_locked(std::uint64_t offset_bytes,
                                                    std::uint64_t size_bytes) const {
  std::uint64_t position = offset_bytes;
  while (position < size_bytes) {
    const Segment segment = segment_at(position, size_bytes);
    if (segment.source == Source::kUpper) {
      VARVE_ASSIGN(const auto found, data_->seek_data(position));
      if (found && *found < segment.end_bytes) return *found;
    } else if (segment.source == Source::kBase) {
      VARVE_ASSIGN(const auto range, segment.base->next_data(position));
      if (range && range->offset_bytes < segment.end_bytes) return std::max(position, range->offset_bytes);
    }
    position = segment.end_bytes;
  }
  return Errno{ENXIO};
}

Result<std::uint64_t> CowFileImpl::seek_hole_locked(std::uint64_t offset_bytes,
                                                    std::uint64_t size_bytes) const {
  std::uint64_t position = offset_bytes;
  while (position < size_bytes) {
    const Segment segment = segment_at(position, size_bytes);
    if (segment.source == Source::kZero) return position;
    if (segment.source == Source::kUpper) {
      VARVE_ASSIGN(const auto found, data_->seek_hole(position));
      if (found && *found < segment.end_bytes) return *found;
      position = segment.end_bytes;
    } else {
      VARVE_ASSIGN(const auto range, segment.base->next_data(position));
      if (!range || range->offset_bytes > position) return position;
      position = std::min(segment.end_bytes, range->offset_bytes + range->size_bytes);
    }
  }
  return size_bytes;
}

bool CowFileImpl::is_inherited(std::uint64_t offset_bytes, const Segment& segment) const {
  return segment.source == Source::kBase ||
         (segment.source == Source::kZero && offset_bytes >= base_size_bytes_);
}

Result<std::optional<layer::Range>> CowFileImpl::next_own(std::uint64_t offset_bytes) const {
  const ReaderLock lock(mutex_);
  VARVE_ASSIGN(const std::uint64_t size_bytes, data_->size_bytes());
  std::optional<layer::Range> own;
  for (std::uint64_t position = offset_bytes; position < size_bytes;) {
    const Segment segment = segment_at(position, size_bytes);
    const bool inherited = is_inherited(position, segment);
    if (inherited && own) break;
    if (!inherited && !own) own = layer::Range{position, 0};
    if (own) own->size_bytes = segment.end_bytes - own->offset_bytes;
    position = segment.end_bytes;
  }
  return own;
}

namespace {

// st_blocks of the blocks with data in [0, end_bytes) of `base`; count(first, end) tells how many of a range of them count.
template <class Count>
Result<std::uint64_t> data_blocks_512(const layer::LowerFile& base, std::uint64_t end_bytes,
                                      const Count& count) {
  constexpr std::uint64_t kSectorsPerBlock = kBlockSizeBytes / 512;
  std::uint64_t blocks = 0;
  std::uint64_t counted_blocks = 0;  // blocks before this one were looked at: ranges may share one
  std::uint64_t position = 0;
  while (position < end_bytes) {
    VARVE_ASSIGN(const auto range, base.next_data(position));
    if (!range || range->offset_bytes >= end_bytes) break;
    const std::uint64_t range_end_bytes = std::min(range->offset_bytes + range->size_bytes, end_bytes);
    const std::uint64_t first = std::max(counted_blocks, range->offset_bytes / kBlockSizeBytes);
    const std::uint64_t end = (range_end_bytes + kBlockSizeBytes - 1) / kBlockSizeBytes;
    if (first < end) blocks += count(first, end);
    counted_blocks = std::max(counted_blocks, end);
    position = std::max(position + 1, range_end_bytes);
  }
  return blocks * kSectorsPerBlock;
}

}  // namespace

Result<bool> CowFile::is_untouched(UpperStore& store, const Marks& marks) {
  VARVE_ASSIGN(const bool touched, store.cow_host().has_map(marks.map_id));
  return !touched;
}

Result<std::uint64_t> CowFile::untouched_blocks_512(const Attributes& stored, const layer::LowerFile& base) {
  // What a truncation cut off is not inherited any more.
  const std::uint64_t end_bytes = std::min(base.size_bytes(), stored.size_bytes);
  const auto all = [](std::uint64_t first, std::uint64_t end) { return end - first; };
  VARVE_ASSIGN(const std::uint64_t inherited, data_blocks_512(base, end_bytes, all));
  return stored.blocks_512 + inherited;
}

Result<std::uint64_t> CowFileImpl::blocks_512() const {
  VARVE_ASSIGN(const std::uint64_t own, data_->blocks_512());
  if (is_complete()) return own;
  const ReaderLock lock(mutex_);
  VARVE_ASSIGN(const std::uint64_t inherited, inherited_blocks_512_locked());
  return own + inherited;
}

Result<std::uint64_t> CowFileImpl::inherited_blocks_512_locked() const {
  if (is_complete()) return std::uint64_t{0};
  const BlockBitmap& claimed = map_.claimed();
  return data_blocks_512(*base_, inherit_end_bytes_, [&](std::uint64_t first, std::uint64_t end) {
    return claimed.count_clear(first, end);
  });
}

}  // namespace varve::upper
