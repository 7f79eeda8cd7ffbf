// OPENDIR, READDIR, READDIRPLUS, FSYNCDIR, RELEASEDIR.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/fuse/request.h"

namespace varve::fuse {
namespace {

using Listed = view::UnionView::Listed;

// Reading and syncing a directory name the node. Kernels from 5.1 on then do without OPENDIR and RELEASEDIR.
void do_opendir(fuse_req_t request, fuse_ino_t, struct fuse_file_info*) {
  if (state_of(request).without_opendir) {
    reply_error(request, ENOSYS);
    return;
  }
  // As the kernel takes it where it sends no OPENDIR: every change of a directory goes through it, so it knows when to ask again.
  struct fuse_open_out out {};
  out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
  reply_struct(request, out);
}

// The kernel is to drop what it has kept of the listing of `node`.
void forget_listing(fuse_req_t request, fuse_ino_t node) {
  fuse_lowlevel_notify_inval_inode(state_of(request).session, node, 0, 0);
}

// To be called after a readdir() of the view, before the reply. Returns: the error to reply with; 0: none.
int after_listing(fuse_req_t request, fuse_ino_t node, const Result<Listed>& listed) {
  if (!listed.ok()) return listed.error().value;
  if (*listed == Listed::kEndAndNotToBeKept) forget_listing(request, node);
  return 0;
}

void do_readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t cookie, struct fuse_file_info*) {
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
    const Result<Listed> listed =
        view_of(request).readdir(NodeId(node), static_cast<std::uint64_t>(cookie), add);
    if (const int error = after_listing(request, node, listed); error != 0) {
      reply_error(request, error);
    } else {
      reply_bytes(request, std::as_bytes(std::span(buffer).first(used)));
    }
  });
}

constexpr std::uint64_t kUnknownInode = 0xffffffff;  // FUSE_UNKNOWN_INO of libfuse
// Telling the attributes of an object of the upper takes some microseconds, and being asked for them by a LOOKUP ten times as long. But
// who reads larger directories than this seldom wants to know all of them.
constexpr std::size_t kMostOfUpper = 4096;

bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}

struct PendingEntry {
  std::string name;
  std::uint64_t inode_number = 0;
  std::uint32_t type = 0;
  std::uint64_t next_cookie = 0;
  bool with_attributes = false;
};

// As many entries as could at most fit into `size` bytes. Collected first, because a look-up takes the view's locks.
Result<Listed> collect_entries(view::UnionView& view, NodeId directory, std::size_t size,
                               std::uint64_t cookie, std::vector<PendingEntry>& pending) {
  std::size_t used = 0;
  const auto add = [&](const view::DirectoryEntry& entry) {
    used += fuse_add_direntry_plus(nullptr, nullptr, 0, std::string(entry.name).c_str(), nullptr, 0);
    if (used > size) return false;
    pending.push_back(PendingEntry{
        .name = std::string(entry.name),
        .inode_number = entry.inode_number,
        .type = entry.type,
        .next_cookie = entry.next_cookie,
        .with_attributes = !is_dots(entry.name) && (!entry.in_upper || entry.position < kMostOfUpper)});
    return true;
  };
  // The look-ups tell the numbers.
  return view.readdir(directory, cookie, add, kMostOfUpper);
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
    if (entry.with_attributes) {
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
                    struct fuse_file_info*) {
  answer(request, [&] {
    view::UnionView& view = view_of(request);
    PlusReply reply{std::vector<char>(size), 0, {}};
    auto next_cookie = static_cast<std::uint64_t>(cookie);
    // An empty reply means the end: go on while all that was collected has been removed meanwhile.
    while (reply.used == 0) {
      std::vector<PendingEntry> pending;
      const Result<Listed> listed = collect_entries(view, NodeId(node), size, next_cookie, pending);
      if (const int error = after_listing(request, node, listed); error != 0) {
        reply_error(request, error);
        return;
      }
      if (pending.empty()) break;
      add_plus_entries(request, NodeId(node), pending, reply);
      next_cookie = pending.back().next_cookie;
    }
    if (reply_bytes(request, std::as_bytes(std::span(reply.buffer).first(reply.used))) == -ENOENT) {
      for (const NodeId id : reply.referenced) view.forget(id, 1);
    }
  });
}

void do_fsyncdir(fuse_req_t request, fuse_ino_t node, int, struct fuse_file_info*) {
  answer(request, [&] { reply_status(request, view_of(request).fsyncdir(NodeId(node))); });
}

void do_releasedir(fuse_req_t request, fuse_ino_t, struct fuse_file_info*) {
  reply_error(request, 0);
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
