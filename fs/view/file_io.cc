// Data of regular files. An open file reads from its layer until the first write, then from its CowFile; all handles
// of a node share one OpenData and see the switch at once.

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "fs/base/log.h"
#include "fs/view/union_view.h"

namespace varve::view {

Result<OpenData::View> UnionView::open_view_locked(Node& node) {
  OpenData::View view;
  if (!node.in_upper) {
    VARVE_ASSIGN(std::unique_ptr<layer::LowerFile> lower,
                 stack_->layer(node.lower.slot).open_file(node.lower.id));
    view.lower = std::move(lower);
    return view;
  }
  VARVE_ASSIGN(const Place place, place_locked(node));
  node.upper().untouched = false;  // who has it open may write to it
  std::unique_ptr<layer::LowerFile> base;
  VARVE_RETURN_IF_ERROR(renew_base_locked(node, place));
  if (node.upper().marks.base) {
    VARVE_ASSIGN(base, open_base(*node.upper().marks.base));
  }
  VARVE_ASSIGN(std::unique_ptr<upper::CowFile> file,
               upper::CowFile::open(*store_, place.ref(), node.upper().marks, std::move(base)));
  view.upper = std::move(file);
  return view;
}

Status UnionView::renew_base_locked(Node& node, const Place& place) {
  if (!node.upper().marks.base) return {};
  VARVE_ASSIGN(upper::UpperEntry entry, store_->look_up(place.ref()));
  node.upper().marks.base = std::move(entry.marks.base);
  node.upper().marks.map_id = entry.marks.map_id;
  return {};
}

Result<OpenData::View> UnionView::view_locked(Node& node) {
  if (node.data != nullptr) return node.data->view();
  if (node.in_upper && node.upper().kept_data != nullptr) return node.upper().kept_data->view();
  return open_view_locked(node);
}

Result<std::shared_ptr<OpenData>> UnionView::acquire_data(const NodePtr& node, UniqueFd created) {
  const MutexLock lock(node->mutex);
  if (node->data == nullptr && node->in_upper) node->data = node->upper().kept_data;
  if (node->data == nullptr) {
    OpenData::View view;
    if (created.valid()) {
      VARVE_ASSIGN(view.upper, upper::CowFile::take(*store_, std::move(created)));
    } else {
      VARVE_ASSIGN(view, open_view_locked(*node));
    }
    std::unique_ptr<const Backing> backing = back_locked(*node, view);
    node->data = std::make_shared<OpenData>(std::move(view), std::move(backing));
  }
  ++node->opens;
  return node->data;
}

// Set-id bits are cleared by whoever writes; the kernel leaves that to us, and tells of no write to a backing.
std::unique_ptr<const Backing> UnionView::back_locked(Node& node, const OpenData::View& view) {
  if (backings_ == nullptr || view.upper == nullptr || !view.upper->is_ordinary()) return nullptr;
  const Result<Attributes> attributes = stored_attributes_locked(node);
  if (!attributes.ok() || (attributes->mode & (S_ISUID | S_ISGID)) != 0) return nullptr;
  const std::optional<std::int32_t> id = backings_->add(view.upper->fd());
  if (!id) return nullptr;
  node.passed_through = true;
  return std::make_unique<const Backing>(backings_, *id);
}

void UnionView::release_data(const NodePtr& node) {
  std::shared_ptr<OpenData> last;  // closed after the lock is released
  const MutexLock lock(node->mutex);
  VARVE_CHECK(node->opens > 0);
  if (--node->opens > 0) return;
  settle_set_id_locked(*node);
  last = std::move(node->data);
  const std::shared_ptr<upper::CowFile> file = last->view().upper;
  if (file == nullptr) return;
  forget_base_locked(*node, *file);
  if (!file->is_complete() || file->is_ordinary()) return;
  // Kept, so that who opens it meanwhile finds the same CowFile.
  if (settler_.add(node)) node->upper().kept_data = last;
}

void UnionView::forget_base_locked(Node& node, const upper::CowFile& file) {
  if (file.is_ordinary()) node.upper().marks.base.reset();
}

void UnionView::settle_file(Node& node) {
  std::shared_ptr<OpenData> data;
  {
    const MutexLock lock(node.mutex);
    data = node.upper().kept_data;
  }
  if (data == nullptr) return;
  const std::shared_ptr<upper::CowFile> file = data->view().upper;
  const Status synced = file->sync(false);
  if (!synced.ok()) {
    // Kept: the error is told once by the file system below, and the next fsync must tell it again.
    log_error("syncing a file that was written whole: {}", std::strerror(synced.error().value));
    return;
  }
  const MutexLock lock(node.mutex);
  forget_base_locked(node, *file);
  // Without a name and not ordinary it cannot be opened anew.
  if (node.upper().kept_data == data && (file->is_ordinary() || !node.aliases.empty())) {
    node.upper().kept_data.reset();
  }
}

HandleId UnionView::add_handle(const NodePtr& node, std::shared_ptr<OpenData> data, int flags) {
  FileHandle handle{.node = node, .data = std::move(data)};
  {
    const MutexLock lock(node->mutex);
    handle.keeps_cache = !node->passed_through;
    handle.maps = (flags & O_ACCMODE) == O_RDWR;
    if (handle.maps) ++handle.data->mappers;
  }
  return handles_.add(std::make_shared<FileHandle>(std::move(handle)));
}

UnionView::OpenMode UnionView::open_mode(HandleId id) const {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return {};
  OpenMode mode{.backing = {}, .keeps_cache = handle->keeps_cache, .maps = handle->maps};
  if (handle->data->backing() != nullptr) mode.backing = handle->data->backing()->id();
  return mode;
}

Result<HandleId> UnionView::open(NodeId id, int flags) {
  VARVE_ASSIGN(const NodePtr file, node(id));
  if (!file->is_regular()) return Errno{file->is_directory() ? EISDIR : EINVAL};
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (writes) VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  if ((flags & O_TRUNC) != 0) {
    VARVE_RETURN_IF_ERROR(copy_up(file, Content::kEmpty));
    VARVE_RETURN_IF_ERROR(drop_capabilities(*file));
  }
  VARVE_ASSIGN(std::shared_ptr<OpenData> data, acquire_data(file));
  if ((flags & O_TRUNC) != 0) {
    const Status truncated = truncate_open(file, *data, 0);
    if (!truncated.ok()) {
      release_data(file);
      return truncated.error();
    }
  }
  return add_handle(file, std::move(data), flags);
}

Result<UnionView::Created> UnionView::create(NodeId parent, std::string_view name, std::uint32_t mode,
                                             Caller caller, int flags) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(Made made, make_object(parent, name,
                                      upper::NewObject{.mode = S_IFREG | (mode & 07777),
                                                       .umask = caller.umask,
                                                       .uid = caller.uid,
                                                       .gid = caller.gid,
                                                       .symlink_target = {}},
                                      Use::kOpen));
  return open_created(std::move(made), flags);
}

Result<UnionView::Created> UnionView::create_unnamed(NodeId parent, std::uint32_t mode, Caller caller,
                                                     int flags) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(Made made, make_unnamed(parent, upper::NewObject{.mode = S_IFREG | (mode & 07777),
                                                                .umask = caller.umask,
                                                                .uid = caller.uid,
                                                                .gid = caller.gid,
                                                                .symlink_target = {}}));
  return open_created(std::move(made), flags);
}

Result<UnionView::Created> UnionView::open_created(Made made, int flags) {
  VARVE_ASSIGN(std::shared_ptr<OpenData> data, acquire_data(made.node, std::move(made.fd)));
  const HandleId handle = add_handle(made.node, std::move(data), flags);
  return Created{referenced_reply(made), handle};
}

void UnionView::release(HandleId id) {
  std::shared_ptr<FileHandle> handle = handles_.remove(id);
  if (handle == nullptr) return;
  const NodePtr node = handle->node;
  if (handle->maps) {
    const MutexLock lock(node->mutex);
    --handle->data->mappers;
  }
  handle.reset();  // and its share of the data
  release_data(node);
}

Result<std::size_t> UnionView::read(HandleId id, std::uint64_t offset_bytes, std::span<std::byte> out) {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  const OpenData::View view = handle->data->view();
  return view.upper != nullptr ? view.upper->read(offset_bytes, out) : view.lower->read(offset_bytes, out);
}

Result<std::shared_ptr<upper::CowFile>> UnionView::writable_file(const NodePtr& node, OpenData& data) {
  if (OpenData::View view = data.view(); view.upper != nullptr) return view.upper;
  const ReaderLock tree(tree_);
  VARVE_RETURN_IF_ERROR(copy_up(node));
  return upper_file(node, data);
}

Result<std::shared_ptr<upper::CowFile>> UnionView::upper_file(const NodePtr& node, OpenData& data) {
  const MutexLock lock(node->mutex);
  OpenData::View view = data.view();
  if (view.upper == nullptr) {
    // The copy-up was published, but its file could not be opened then.
    VARVE_ASSIGN(view, open_view_locked(*node));
    data.replace(view);
  }
  return view.upper;
}

Result<std::size_t> UnionView::write(HandleId id, std::uint64_t offset_bytes,
                                     std::span<const std::byte> data) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  VARVE_ASSIGN(const std::shared_ptr<upper::CowFile> file, writable_file(handle->node, *handle->data));
  return file->write_some(offset_bytes, data);
}

Status UnionView::fsync(HandleId id, bool data_only) {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  const OpenData::View view = handle->data->view();
  return view.upper != nullptr ? view.upper->sync(data_only) : Status();
}

Status UnionView::fallocate(HandleId id, int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  VARVE_ASSIGN(const std::shared_ptr<upper::CowFile> file, writable_file(handle->node, *handle->data));
  return file->allocate(mode, offset_bytes, size_bytes);
}

namespace {

// lseek(2) SEEK_DATA and SEEK_HOLE over a lower file.
Result<std::uint64_t> seek_lower(const layer::LowerFile& file, std::uint64_t offset, int whence) {
  if (offset >= file.size_bytes()) return Errno{ENXIO};
  VARVE_ASSIGN(const std::optional<layer::Range> data, file.next_data(offset));
  if (whence == SEEK_DATA) {
    if (!data) return Errno{ENXIO};
    return std::max(offset, data->offset_bytes);
  }
  if (whence != SEEK_HOLE) return Errno{EINVAL};
  std::optional<layer::Range> range = data;
  std::uint64_t at = offset;
  // Ranges that touch are one stretch of data.
  while (range && range->offset_bytes <= at && at < file.size_bytes()) {
    at = range->offset_bytes + range->size_bytes;
    if (at >= file.size_bytes()) break;
    VARVE_ASSIGN(range, file.next_data(at));
  }
  return std::min(at, file.size_bytes());
}

}  // namespace

Result<std::uint64_t> UnionView::lseek(HandleId id, std::uint64_t offset_bytes, int whence) {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  const OpenData::View view = handle->data->view();
  return view.upper != nullptr ? view.upper->seek(offset_bytes, whence)
                               : seek_lower(*view.lower, offset_bytes, whence);
}

Result<std::shared_ptr<const layer::LowerFile>> UnionView::lower_file(NodeId id) {
  VARVE_CHECK(read_only());
  if (std::shared_ptr<const layer::LowerFile> known = opened_.find(id)) return known;
  VARVE_ASSIGN(const NodePtr file, node(id));
  if (!file->is_regular()) return Errno{file->is_directory() ? EISDIR : EINVAL};
  LowerRef lower;
  {
    const MutexLock lock(file->mutex);
    lower = file->lower;
  }
  VARVE_ASSIGN(std::unique_ptr<layer::LowerFile> opened, stack_->layer(lower.slot).open_file(lower.id));
  return opened_.keep(id, std::move(opened), 1);
}

Result<std::uint64_t> UnionView::lseek_node(NodeId id, std::uint64_t offset_bytes, int whence) {
  VARVE_ASSIGN(const std::shared_ptr<const layer::LowerFile> file, lower_file(id));
  return seek_lower(*file, offset_bytes, whence);
}

Result<std::uint64_t> UnionView::copy_file_range(const CopyRange& range) {
  constexpr std::uint64_t kChunk = std::uint64_t{1} << 20;
  std::vector<std::byte> buffer(std::min(kChunk, range.size_bytes));
  std::uint64_t done = 0;
  while (done < range.size_bytes) {
    const std::span<std::byte> chunk(buffer.data(), std::min(kChunk, range.size_bytes - done));
    VARVE_ASSIGN(const std::size_t count, read(range.from, range.from_offset + done, chunk));
    if (count == 0) break;
    const Result<std::size_t> written = write(range.to, range.to_offset + done, chunk.first(count));
    if (!written.ok() && done == 0) return written.error();
    if (!written.ok()) break;
    done += *written;
  }
  return done;
}

std::shared_ptr<const upper::CowFile> UnionView::complete_file(HandleId id) {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return nullptr;
  OpenData::View view = handle->data->view();
  if (view.upper == nullptr || !view.upper->is_complete()) return nullptr;
  return std::move(view.upper);
}

Status UnionView::truncate(const NodePtr& node, std::uint64_t size_bytes) {
  if (!node->is_regular()) return Errno{node->is_directory() ? EISDIR : EINVAL};
  VARVE_RETURN_IF_ERROR(copy_up(node, size_bytes == 0 ? Content::kEmpty : Content::kInherit));
  VARVE_ASSIGN(const std::shared_ptr<OpenData> data, acquire_data(node));
  const Status done = truncate_open(node, *data, size_bytes);
  release_data(node);
  return done;
}

Status UnionView::truncate_open(const NodePtr& node, OpenData& data, std::uint64_t size_bytes) {
  VARVE_ASSIGN(const std::shared_ptr<upper::CowFile> file, upper_file(node, data));
  const Status truncated = file->truncate(size_bytes);
  if (truncated.ok() || size_bytes > 0) return truncated;
  // A copy-up that made it empty has done it; only its time of modification is not set.
  struct stat status {};
  return ::fstat(file->fd(), &status) == 0 && status.st_size == 0 ? Status() : truncated;
}

}  // namespace varve::view
