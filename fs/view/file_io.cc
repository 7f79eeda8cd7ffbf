// Data of regular files. An open file reads from its layer until the first write, then from its CowFile; all handles
// of a node share one OpenData and see the switch at once.

#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "fs/view/union_view.h"

namespace varve::view {

Result<OpenData::View> UnionView::open_view_locked(Node& node) {
  OpenData::View view;
  if (!node.in_upper) {
    VARVE_ASSIGN(std::unique_ptr<layer::LowerFile> lower,
                 stack_->layer(node.lower->slot).open_file(node.lower->id));
    view.lower = std::move(lower);
    return view;
  }
  VARVE_ASSIGN(const Place place, place_locked(node));
  std::unique_ptr<layer::LowerFile> base;
  if (node.upper().marks.base) {
    // The file may have become complete while it was open before: the marks on it are the truth.
    VARVE_ASSIGN(upper::UpperEntry entry, store_->look_up(place.ref()));
    node.upper().marks.base = std::move(entry.marks.base);
    node.upper().marks.map_id = entry.marks.map_id;
  }
  if (node.upper().marks.base) {
    VARVE_ASSIGN(base, open_base(*node.upper().marks.base));
  }
  VARVE_ASSIGN(std::unique_ptr<upper::CowFile> file,
               upper::CowFile::open(*store_, place.ref(), node.upper().marks, std::move(base)));
  view.upper = std::move(file);
  return view;
}

Result<std::shared_ptr<OpenData>> UnionView::acquire_data(const NodePtr& node, bool writes) {
  const MutexLock lock(node->mutex);
  if (writes && !node->in_upper && node->aliases.empty()) return Errno{ESTALE};
  if (node->data == nullptr) {
    VARVE_ASSIGN(OpenData::View view, open_view_locked(*node));
    node->data = std::make_shared<OpenData>(std::move(view));
  }
  ++node->opens;
  return node->data;
}

void UnionView::release_data(Node& node) {
  std::shared_ptr<OpenData> last;  // closed after the lock is released
  const MutexLock lock(node.mutex);
  VARVE_CHECK(node.opens > 0);
  if (--node.opens == 0) last = std::move(node.data);
}

Result<HandleId> UnionView::open(NodeId id, int flags) {
  VARVE_ASSIGN(const NodePtr file, node(id));
  if (!file->is_regular()) return Errno{file->is_directory() ? EISDIR : EINVAL};
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (writes) VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  if ((flags & O_TRUNC) != 0) VARVE_RETURN_IF_ERROR(truncate(file, 0));
  VARVE_ASSIGN(std::shared_ptr<OpenData> data, acquire_data(file, writes));
  return handles_.files.add(std::make_shared<FileHandle>(FileHandle{file, std::move(data)}));
}

Result<UnionView::Created> UnionView::create(NodeId parent, std::string_view name, std::uint32_t mode,
                                             Caller caller) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr made, make_object(parent, name,
                                               upper::NewObject{.mode = S_IFREG | (mode & 07777),
                                                                .umask = caller.umask,
                                                                .uid = caller.uid,
                                                                .gid = caller.gid,
                                                                .symlink_target = {}}));
  VARVE_ASSIGN(std::shared_ptr<OpenData> data, acquire_data(made, true));
  Result<EntryReply> reply = referenced_reply(made);
  if (!reply.ok()) {
    release_data(*made);
    return reply.error();
  }
  return Created{*reply, handles_.files.add(std::make_shared<FileHandle>(FileHandle{made, std::move(data)}))};
}

void UnionView::release(HandleId id) {
  const std::shared_ptr<FileHandle> handle = handles_.files.remove(id);
  if (handle == nullptr) return;
  handle->data.reset();
  release_data(*handle->node);
}

Result<std::size_t> UnionView::read(HandleId id, std::uint64_t offset_bytes, std::span<std::byte> out) {
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
  if (handle == nullptr) return Errno{EBADF};
  const OpenData::View view = handle->data->view();
  return view.upper != nullptr ? view.upper->read(offset_bytes, out) : view.lower->read(offset_bytes, out);
}

Result<std::shared_ptr<upper::CowFile>> UnionView::writable_file(const NodePtr& node, OpenData& data) {
  if (OpenData::View view = data.view(); view.upper != nullptr) return view.upper;
  const ReaderLock tree(tree_);
  VARVE_RETURN_IF_ERROR(copy_up(node));
  const MutexLock lock(node->mutex);
  OpenData::View view = data.view();
  if (view.upper == nullptr) {
    // The copy-up was published, but its file could not be opened then.
    VARVE_ASSIGN(view, open_view_locked(*node));
    data.replace(view);
  }
  return view.upper;
}

Status UnionView::write(HandleId id, std::uint64_t offset_bytes, std::span<const std::byte> data) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
  if (handle == nullptr) return Errno{EBADF};
  VARVE_ASSIGN(const std::shared_ptr<upper::CowFile> file, writable_file(handle->node, *handle->data));
  return file->write(offset_bytes, data);
}

Status UnionView::fsync(HandleId id, bool data_only) {
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
  if (handle == nullptr) return Errno{EBADF};
  const OpenData::View view = handle->data->view();
  return view.upper != nullptr ? view.upper->sync(data_only) : Status();
}

Status UnionView::fallocate(HandleId id, int mode, std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
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
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
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
    lower = *file->lower;
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
    const Status written = write(range.to, range.to_offset + done, chunk.first(count));
    if (!written.ok()) {
      if (done > 0) break;
      return written.error();
    }
    done += count;
  }
  return done;
}

std::optional<int> UnionView::plain_descriptor(HandleId id) {
  const std::shared_ptr<FileHandle> handle = handles_.files.find(id);
  if (handle == nullptr) return std::nullopt;
  const OpenData::View view = handle->data->view();
  if (view.upper == nullptr || !view.upper->is_complete()) return std::nullopt;
  return view.upper->fd();
}

Status UnionView::truncate(const NodePtr& node, std::uint64_t size_bytes) {
  if (!node->is_regular()) return Errno{node->is_directory() ? EISDIR : EINVAL};
  VARVE_RETURN_IF_ERROR(copy_up(node, size_bytes == 0 ? Content::kEmpty : Content::kInherit));
  VARVE_ASSIGN(const std::shared_ptr<OpenData> data, acquire_data(node, true));
  Status done;
  {
    OpenData::View view = data->view();
    if (view.upper == nullptr) {
      const MutexLock lock(node->mutex);
      Result<OpenData::View> opened = open_view_locked(*node);
      if (opened.ok()) {
        data->replace(*opened);
        view = *opened;
      } else {
        done = opened.error();
      }
    }
    if (done.ok()) {
      done = view.upper->truncate(size_bytes);
      // The copy-up made it empty; this was only to set its time of modification.
      struct stat status {};
      if (!done.ok() && size_bytes == 0 && ::fstat(view.upper->fd(), &status) == 0 && status.st_size == 0)
        done = {};
    }
  }
  release_data(*node);
  return done;
}

}  // namespace varve::view
