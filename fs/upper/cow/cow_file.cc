#include "fs/upper/cow/cow_file.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "fs/base/log.h"
#include "fs/block/fd_block_file.h"
#include "fs/upper/cow/cow_file_impl.h"
#include "fs/upper/object_path.h"

namespace varve::upper {

Result<std::unique_ptr<CowFile>> CowFile::open(UpperStore& store, ObjectRef object, const Marks& marks,
                                               std::unique_ptr<layer::LowerFile> base) {
  VARVE_CHECK((base != nullptr) == marks.base.has_value());
  const CowHost& host = store.cow_host();
  VARVE_ASSIGN(UniqueFd fd,
               host.keeps_access_times() ? open_object_noatime(object, O_RDWR) : open_object(object, O_RDWR));
  CowParts parts;
  parts.host = &store.cow_host();
  parts.fd = fd.get();
  parts.data = std::make_unique<block::FdBlockFile>(std::move(fd));
  parts.map_id = marks.map_id;
  if (marks.base) parts.base_size_bytes = marks.base->size_bytes;
  parts.base = std::move(base);
  VARVE_ASSIGN(auto file, CowFileImpl::assemble(std::move(parts)));
  return std::unique_ptr<CowFile>(std::move(file));
}

Result<std::unique_ptr<CowFile>> CowFile::take(UpperStore& store, UniqueFd fd) {
  CowParts parts;
  parts.host = &store.cow_host();
  parts.fd = fd.get();
  parts.data = std::make_unique<block::FdBlockFile>(std::move(fd));
  VARVE_ASSIGN(auto file, CowFileImpl::assemble(std::move(parts)));
  return std::unique_ptr<CowFile>(std::move(file));
}

// What was written in place before the room ended shows, whatever write() says. So it is done once more, block by block, each of
// which is written or not: what had room then has it still.
Result<std::size_t> CowFile::write_some(std::uint64_t offset_bytes, std::span<const std::byte> data) {
  const Status all = write(offset_bytes, data);
  if (all.ok()) return data.size();
  if (!is_out_of_space(all.error())) return all.error();
  std::size_t done = 0;
  while (done < data.size()) {
    const std::uint64_t position = offset_bytes + done;
    const std::uint64_t size =
        std::min<std::uint64_t>(kBlockSizeBytes - position % kBlockSizeBytes, data.size() - done);
    const Status one = write(position, data.subspan(done, size));
    if (!one.ok() && done == 0) return one.error();
    if (!one.ok()) break;
    done += size;
  }
  return done;
}

CowFileImpl::CowFileImpl(CowParts parts)
    : host_(*parts.host),
      fd_(parts.fd),
      map_id_(parts.map_id),
      base_size_bytes_(parts.base_size_bytes),
      base_blocks_((parts.base_size_bytes + kBlockSizeBytes - 1) / kBlockSizeBytes),
      data_(std::move(parts.data)),
      base_(std::move(parts.base)) {}

Result<std::unique_ptr<CowFileImpl>> CowFileImpl::assemble(CowParts parts) {
  std::unique_ptr<CowFileImpl> file(new CowFileImpl(std::move(parts)));
  {
    const WriterLock lock(file->mutex_);
    if (file->base_ == nullptr) {
      file->settled_ = true;
      file->complete_ = true;
    } else {
      if (file->base_->size_bytes() != file->base_size_bytes_) {
        log_error("partly copied file (map {:016x}): its base has {} bytes, not the {} it was copied from",
                  file->map_id_, file->base_->size_bytes(), file->base_size_bytes_);
        return Errno{EIO};
      }
      VARVE_ASSIGN(auto map_file, file->host_.open_map(file->map_id_, file->fd_));
      BlockMap::Identity identity{
          .map_id = file->map_id_, .boot_id = file->host_.boot_id(), .size_blocks = file->base_blocks_};
      auto make = [&host = file->host_, map_id = file->map_id_, fd = file->fd_] {
        return host.make_map(map_id, fd);
      };
      VARVE_ASSIGN(file->map_, BlockMap::load(identity, std::move(map_file), std::move(make)));
      VARVE_ASSIGN(const std::uint64_t size_bytes, file->data_->size_bytes());
      // A truncation before this open: what it cut off does not come back.
      file->inherit_end_bytes_ = std::min(file->base_size_bytes_, size_bytes);
      file->update_complete_locked(size_bytes);
    }
  }
  file->host_.cow_file_opened(*file, file->map_id_);
  return file;
}

CowFileImpl::~CowFileImpl() {
  bool live_claims = false;
  {
    const ReaderLock lock(mutex_);
    live_claims = !settled_ && !map_.live_only().none_set();
  }
  host_.cow_file_closed(*this, map_id_, live_claims);
}

}  // namespace varve::upper
