// LOOKUP, FORGET and what makes, moves and removes names.

#include "fs/fuse/request.h"

namespace varve::fuse {
namespace {

void do_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, [&] {
    const Result<view::EntryReply> entry = view_of(request).lookup(NodeId(parent), name);
    if (!entry.ok() && entry.error().value == ENOENT) {
      struct fuse_entry_out absent {};  // node 0: "no such name", and the kernel may remember that
      absent.entry_valid = static_cast<std::uint64_t>(kTimeoutSeconds);
      reply_struct(request, absent);
      return;
    }
    reply_entry(request, entry);
  });
}

void note_forgotten(fuse_req_t request, std::size_t count) {
  static_cast<SessionState*>(fuse_req_userdata(request))
      ->forgotten.fetch_add(count, std::memory_order_relaxed);
}

void do_forget(fuse_req_t request, fuse_ino_t node, std::uint64_t count) {
  view_of(request).forget(NodeId(node), count);
  note_forgotten(request, 1);
  fuse_reply_none(request);
}

void do_forget_multi(fuse_req_t request, std::size_t count, struct fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) view_of(request).forget(NodeId(forgets[i].ino), forgets[i].nlookup);
  note_forgotten(request, count);
  fuse_reply_none(request);
}

// The answer to a request that made a name in `directory`.
void reply_made(fuse_req_t request, fuse_ino_t directory, const Result<view::EntryReply>& entry) {
  if (entry.ok()) forget_attributes(request, directory);
  reply_entry(request, entry);
}

void do_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  answer(request, [&] {
    reply_made(request, parent, view_of(request).mknod(NodeId(parent), name, mode, rdev, caller_of(request)));
  });
}

void do_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  answer(request, [&] {
    reply_made(request, parent, view_of(request).mkdir(NodeId(parent), name, mode, caller_of(request)));
  });
}

void do_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  answer(request, [&] {
    reply_made(request, parent, view_of(request).symlink(NodeId(parent), name, target, caller_of(request)));
  });
}

void do_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  answer(request,
         [&] { reply_made(request, parent, view_of(request).link(NodeId(node), NodeId(parent), name)); });
}

void do_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, [&] { reply_changed(request, parent, view_of(request).unlink(NodeId(parent), name)); });
}

void do_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, [&] { reply_changed(request, parent, view_of(request).rmdir(NodeId(parent), name)); });
}

void do_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  answer(request, [&] {
    const view::RenameNames names{NodeId(parent), name, NodeId(new_parent), new_name};
    const Result<view::Renamed> renamed = view_of(request).rename(names, flags, caller_of(request));
    if (!renamed.ok()) {
      reply_error(request, renamed.error().value);
      return;
    }
    forget_attributes(request, parent);
    if (new_parent != parent) forget_attributes(request, new_parent);
    // Their ctime is another, and the link counts of directories.
    forget_attributes(request, renamed->moved.value());
    if (renamed->exchanged) forget_attributes(request, renamed->exchanged->value());
    reply_error(request, 0);
  });
}

}  // namespace

void add_name_handlers(struct fuse_lowlevel_ops& operations) {
  operations.lookup = do_lookup;
  operations.forget = do_forget;
  operations.forget_multi = do_forget_multi;
  operations.mknod = do_mknod;
  operations.mkdir = do_mkdir;
  operations.symlink = do_symlink;
  operations.link = do_link;
  operations.unlink = do_unlink;
  operations.rmdir = do_rmdir;
  operations.rename = do_rename;
}

}  // namespace varve::fuse
