// OPENDIR, READDIR, READDIRPLUS, FSYNCDIR, RELEASEDIR.

#include <string>
#include <vector>

#include "fs/fuse/request.h"

namespace varve::fuse {
namespace {

using InodeNumbers = view::UnionView::InodeNumbers;

view::HandleId handle_of(const struct fuse_file_info* info) {
  return view::HandleId(info->fh);
}

void do_opendir(fuse_req_t request, fuse_ino_t node, struct fuse_file_info* info) {
  if (state_of(request).without_opendir) {
    fuse_reply_err(request, ENOSYS);
    return;
  }
  answer(request, [&] {
    view::UnionView& view = view_of(request);
    const Result<view::HandleId> handle = view.opendir(NodeId(node));
    if (!handle.ok()) {
      fuse_reply_err(request, handle.error().value);
      return;
    }
    info->fh = handle->value();
    info->cache_readdir = view.kernel_may_cache(*handle) ? 1 : 0;
    info->keep_cache = 1;  // every change of the directory goes through the kernel, which looks for them
    if (fuse_reply_open(request, info) == -ENOENT) view.releasedir(*handle);
  });
}

Status list(fuse_req_t request, fuse_ino_t node, const struct fuse_file_info* info, std::uint64_t cookie,
            const view::UnionView::DirectoryVisitor& visit, InodeNumbers numbers) {
  view::UnionView& view = view_of(request);
  return is_by_node(info) ? view.readdir_node(NodeId(node), cookie, visit)
                          : view.readdir(handle_of(info), cookie, visit, numbers);
}

void do_readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie,
                struct fuse_file_info* info) {
  answer(request, [&] {
    std::vector<char> buffer(size);
    std::size_t used = 0;
    const auto add = [&](const view::DirectoryEntry& entry) {
      const std::string name(entry.name);
      struct stat stat {};
      stat.st_ino = entry.inode_number;
      stat.st_mode = entry.type;
      const std::size_t needed = fuse_add_direntry(request, buffer.data() + used, size - used, name.c_str(),
                                                   &stat, static_cast<off_t>(entry.next_cookie));
      if (needed > size - used) return false;
      used += needed;
      return true;
    };
    const Status status =
        list(request, node, info, static_cast<std::uint64_t>(cookie), add, InodeNumbers::kTold);
    if (status.ok()) {
      fuse_reply_buf(request, buffer.data(), used);
    } else {
      reply_status(request, status);
    }
  });
}

constexpr std::uint64_t kUnknownInode = 0xffffffff;  // FUSE_UNKNOWN_INO of libfuse

struct PendingEntry {
  std::string name;
  std::uint64_t inode_number = 0;
  std::uint32_t type = 0;
  std::uint64_t next_cookie = 0;
};

// As many entries as could at most fit into `size` bytes. Collected first, because a look-up takes the view's locks.
Result<std::vector<PendingEntry>> collect_entries(fuse_req_t request, fuse_ino_t node,
                                                  const struct fuse_file_info* info, std::size_t size,
                                                  std::uint64_t cookie) {
  std::vector<PendingEntry> pending;
  std::size_t used = 0;
  const auto add = [&](const view::DirectoryEntry& entry) {
    used += fuse_add_direntry_plus(nullptr, nullptr, 0, std::string(entry.name).c_str(), nullptr, 0);
    if (used > size) return false;
    pending.push_back(
        PendingEntry{std::string(entry.name), entry.inode_number, entry.type, entry.next_cookie});
    return true;
  };
  // The look-ups tell the numbers.
  VARVE_RETURN_IF_ERROR(list(request, node, info, cookie, add, InodeNumbers::kLeftOut));
  return pending;
}

// One reply to READDIRPLUS under construction.
struct PlusReply {
  std::vector<char> buffer;
  std::size_t used = 0;
  std::vector<NodeId> referenced;
};

// Adds `pending` with their attributes; names that were removed meanwhile are left out.
void add_plus_entries(fuse_req_t request, NodeId directory, const std::vector<PendingEntry>& pending,
                      PlusReply& reply) {
  view::UnionView& view = view_of(request);
  for (const PendingEntry& entry : pending) {
    struct fuse_entry_param param {};
    param.attr.st_ino = entry.inode_number == 0 ? kUnknownInode : entry.inode_number;
    param.attr.st_mode = entry.type;
    if (entry.name != "." && entry.name != "..") {
      const Result<view::EntryReply> found = view.lookup(directory, entry.name);
      if (!found.ok() && found.error().value == ENOENT) continue;
      // Another error: the entry is told without attributes, and the caller meets the error when it looks at it.
      if (found.ok()) {
        param = to_entry_param(request, *found);
        reply.referenced.push_back(found->id);
      }
    }
    reply.used +=
        fuse_add_direntry_plus(request, reply.buffer.data() + reply.used, reply.buffer.size() - reply.used,
                               entry.name.c_str(), &param, static_cast<off_t>(entry.next_cookie));
  }
}

void do_readdirplus(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie,
                    struct fuse_file_info* info) {
  answer(request, [&] {
    view::UnionView& view = view_of(request);
    PlusReply reply{std::vector<char>(size), 0, {}};
    auto next_cookie = static_cast<std::uint64_t>(cookie);
    // An empty reply means the end: go on while all that was collected has been removed meanwhile.
    while (reply.used == 0) {
      const Result<std::vector<PendingEntry>> pending =
          collect_entries(request, node, info, size, next_cookie);
      if (!pending.ok()) {
        fuse_reply_err(request, pending.error().value);
        return;
      }
      if (pending->empty()) break;
      add_plus_entries(request, NodeId(node), *pending, reply);
      next_cookie = pending->back().next_cookie;
    }
    if (fuse_reply_buf(request, reply.buffer.data(), reply.used) == -ENOENT) {
      for (const NodeId id : reply.referenced) view.forget(id, 1);
    }
  });
}

void do_fsyncdir(fuse_req_t request, fuse_ino_t, int, struct fuse_file_info* info) {
  answer(request, [&] {
    reply_status(request, is_by_node(info) ? Status() : view_of(request).fsyncdir(handle_of(info)));
  });
}

void do_releasedir(fuse_req_t request, fuse_ino_t, struct fuse_file_info* info) {
  view_of(request).releasedir(handle_of(info));
  fuse_reply_err(request, 0);
}

}  // namespace

void add_directory_handlers(struct fuse_lowlevel_ops& operations) {
  operations.opendir = do_opendir;
  operations.readdir = do_readdir;
  operations.readdirplus = do_readdirplus;
  operations.fsyncdir = do_fsyncdir;
  operations.releasedir = do_releasedir;
}

}  // namespace varve::fuse
