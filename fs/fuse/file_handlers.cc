// OPEN, CREATE, READ, WRITE and the other requests on regular files.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "fs/base/buffer.h"
#include "fs/fuse/dispatch.h"
#include "fs/fuse/request.h"
#include "fs/fuse/wire.h"

namespace varve::fuse {
namespace {

// Reads from here on are spliced. Not measured: where the pipe begins to cost less than a copy.
constexpr std::size_t kLeastSpliceBytes = std::size_t{32} << 10;

view::HandleId handle_of(const struct fuse_file_info* info) {
  return view::HandleId(info->fh);
}

// Nothing happens at close(2).
struct fuse_open_out to_open_out(view::HandleId handle, const view::UnionView::OpenMode& mode) {
  struct fuse_open_out out {};
  out.fh = handle.value();
  out.open_flags = FOPEN_NOFLUSH;
  if (mode.backing) {
    out.open_flags |= wire::kOpenPassthrough;
    out.padding = static_cast<std::uint32_t>(*mode.backing);
  } else if (mode.keeps_cache) {
    // Nobody but this kernel changes the file, so its page cache outlives the last close.
    out.open_flags |= FOPEN_KEEP_CACHE;
  }
  return out;
}

int reply_open(fuse_req_t request, fuse_ino_t node, view::HandleId handle) {
  const view::UnionView::OpenMode mode = view_of(request).open_mode(handle);
  if (mode.backing && mode.maps) forget_attributes(request, node);
  return reply_struct(request, to_open_out(handle, mode));
}

int reply_create(fuse_req_t request, const view::UnionView::Created& made) {
  const struct {
    struct fuse_entry_out entry;
    struct fuse_open_out open;
  } out{to_entry_out(to_entry_param(request, made.entry)),
        to_open_out(made.handle, view_of(request).open_mode(made.handle))};
  static_assert(sizeof out == sizeof out.entry + sizeof out.open);
  return reply_struct(request, out);
}

// What the kernel takes for the size of a write, and of a copy.
void reply_written(fuse_req_t request, std::uint64_t size) {
  struct fuse_write_out out {};
  out.size = static_cast<std::uint32_t>(size);
  reply_struct(request, out);
}

// Before a write by somebody who may not keep set-id bits.
Status drop_set_id(fuse_req_t request, fuse_ino_t node, view::HandleId handle) {
  if (!extras().kills_set_id) return {};
  VARVE_ASSIGN(const bool dropped, view_of(request).drop_set_id(handle));
  if (dropped) forget_attributes(request, node);
  return {};
}

void do_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info* info) {
  if (state_of(request).without_open) {
    reply_error(request, ENOSYS);
    return;
  }
  answer(request, [&] {
    const Result<view::HandleId> handle = view_of(request).open(NodeId(node), info->flags);
    if (!handle.ok()) {
      reply_error(request, handle.error().value);
      return;
    }
    view::UnionView& view = view_of(request);
    if (const Status dropped = drop_set_id(request, node, *handle); !dropped.ok()) {
      view.release(*handle);
      reply_status(request, dropped);
      return;
    }
    if (reply_open(request, node, *handle) == -ENOENT)
      view.release(*handle);  // interrupted: no RELEASE will come
  });
}

void do_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               struct fuse_file_info* info) {
  answer(request, [&] {
    view::UnionView& view = view_of(request);
    const Result<view::UnionView::Created> made =
        extras().unnamed ? view.create_unnamed(NodeId(parent), mode, caller_of(request), info->flags)
                         : view.create(NodeId(parent), name, mode, caller_of(request), info->flags);
    if (!made.ok()) {
      reply_error(request, made.error().value);
      return;
    }
    if (!extras().unnamed) forget_attributes(request, parent);
    if (reply_create(request, *made) == -ENOENT) {
      view.release(made->handle);
      view.forget(made->entry.id, 1);
    }
  });
}

// As far as the file goes.
Result<std::size_t> read_from_descriptor(int fd, off_t offset, std::span<std::byte> out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t count =
        ::pread(fd, out.data() + filled, out.size() - filled, offset + static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && filled == 0) return Errno::last();
    if (count <= 0) break;
    filled += static_cast<std::size_t>(count);
  }
  return filled;
}

// `bytes` is filled by `read`, which tells how far.
template <class Read>
void reply_read_into(fuse_req_t request, std::span<std::byte> bytes, const Read& read) {
  const Result<std::size_t> count = read(bytes);
  if (count.ok()) {
    reply_bytes(request, bytes.first(*count));
  } else {
    reply_error(request, count.error().value);
  }
}

// `read` fills a buffer of `size` bytes and tells how many it has filled.
template <class Read>
void reply_read(fuse_req_t request, std::size_t size, const Read& read) {
  std::span<std::byte> space = answer_space();
  if (space.size() < size) {
    // One buffer a thread: a read needs no allocation after the first.
    thread_local Buffer buffer;
    if (buffer.size() < size) buffer = Buffer(size);
    space = buffer.bytes();
  }
  reply_read_into(request, space.first(size), read);
}

// `size` bytes of a file at `offset`, as far as it goes. Large ones go from its page cache into the answer without a copy in
// between, through a pipe; small ones are copied.
void reply_from_descriptor(fuse_req_t request, int fd, std::size_t size, off_t offset) {
  if (size < kLeastSpliceBytes || !answer_space().empty()) {
    reply_read(request, size,
               [&](std::span<std::byte> out) { return read_from_descriptor(fd, offset, out); });
    return;
  }
  struct fuse_bufvec buffers {};
  buffers.count = 1;
  buffers.buf[0].size = size;
  buffers.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  buffers.buf[0].fd = fd;
  buffers.buf[0].pos = offset;
  fuse_reply_data(request, &buffers, {});
}

void read_node(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset) {
  const Result<std::shared_ptr<const layer::LowerFile>> file = view_of(request).lower_file(NodeId(node));
  if (!file.ok()) {
    reply_error(request, file.error().value);
    return;
  }
  if (const std::optional<int> fd = (*file)->descriptor()) {
    reply_from_descriptor(request, *fd, size, offset);
    return;
  }
  reply_read(request, size, [&](std::span<std::byte> out) {
    return (*file)->read(static_cast<std::uint64_t>(offset), out);
  });
}

void do_read(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             struct fuse_file_info* info) {
  answer(request, [&] {
    if (is_by_node(info)) {
      read_node(request, node, size, offset);
      return;
    }
    view::UnionView& view = view_of(request);
    if (const std::shared_ptr<const upper::CowFile> file = view.complete_file(handle_of(info))) {
      reply_from_descriptor(request, file->fd(), size, offset);
      return;
    }
    reply_read(request, size, [&](std::span<std::byte> out) {
      return view.read(handle_of(info), static_cast<std::uint64_t>(offset), out);
    });
  });
}

void do_write(fuse_req_t request, fuse_ino_t node, const char* data, std::size_t size, off_t offset,
              struct fuse_file_info* info) {
  answer(request, [&] {
    if (const Status dropped = drop_set_id(request, node, handle_of(info)); !dropped.ok()) {
      reply_status(request, dropped);
      return;
    }
    const Result<std::size_t> written = view_of(request).write(
        handle_of(info), static_cast<std::uint64_t>(offset), std::as_bytes(std::span(data, size)));
    if (!written.ok()) {
      reply_error(request, written.error().value);
      return;
    }
    // What was stored into a mapping. After other writes the kernel puts older answers aside of itself.
    if (info->writepage != 0) forget_attributes(request, node);
    reply_written(request, *written);
  });
}

void do_fsync(fuse_req_t request, fuse_ino_t, int data_only, struct fuse_file_info* info) {
  answer(request, [&] {
    reply_status(request,
                 is_by_node(info) ? Status() : view_of(request).fsync(handle_of(info), data_only != 0));
  });
}

void do_fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
                  struct fuse_file_info* info) {
  answer(request, [&] {
    Status done = drop_set_id(request, node, handle_of(info));
    if (done.ok()) {
      done = view_of(request).fallocate(handle_of(info), mode, static_cast<std::uint64_t>(offset),
                                        static_cast<std::uint64_t>(length));
    }
    reply_changed(request, node, done);
  });
}

void do_lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, struct fuse_file_info* info) {
  answer(request, [&] {
    view::UnionView& view = view_of(request);
    const auto start = static_cast<std::uint64_t>(offset);
    const Result<std::uint64_t> at = is_by_node(info) ? view.lseek_node(NodeId(node), start, whence)
                                                      : view.lseek(handle_of(info), start, whence);
    if (at.ok()) {
      struct fuse_lseek_out out {};
      out.offset = *at;
      reply_struct(request, out);
    } else {
      reply_error(request, at.error().value);
    }
  });
}

void do_copy_file_range(fuse_req_t request, fuse_ino_t, off_t from_offset, struct fuse_file_info* from,
                        fuse_ino_t to_node, off_t to_offset, struct fuse_file_info* to, std::size_t size,
                        int) {
  answer(request, [&] {
    if (const Status dropped = drop_set_id(request, to_node, handle_of(to)); !dropped.ok()) {
      reply_status(request, dropped);
      return;
    }
    const view::UnionView::CopyRange range{.from = handle_of(from),
                                           .from_offset = static_cast<std::uint64_t>(from_offset),
                                           .to = handle_of(to),
                                           .to_offset = static_cast<std::uint64_t>(to_offset),
                                           .size_bytes = size};
    const Result<std::uint64_t> copied = view_of(request).copy_file_range(range);
    if (copied.ok()) {
      reply_written(request, *copied);
    } else {
      reply_error(request, copied.error().value);
    }
  });
}

void do_release(fuse_req_t request, fuse_ino_t, struct fuse_file_info* info) {
  view_of(request).release(handle_of(info));
  reply_error(request, 0);
}

}  // namespace

void add_file_handlers(struct fuse_lowlevel_ops& operations) {
  operations.open = do_open;
  operations.create = do_create;
  operations.read = do_read;
  operations.write = do_write;
  operations.fsync = do_fsync;
  operations.fallocate = do_fallocate;
  operations.lseek = do_lseek;
  operations.copy_file_range = do_copy_file_range;
  operations.release = do_release;
}

}  // namespace varve::fuse
