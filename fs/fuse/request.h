#pragma once

// What every handler needs: the view behind a request, the caller, and replies from results. Private to fs/fuse.

#include "fs/fuse/libfuse.h"

#include <linux/fuse.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <string>

#include "fs/base/log.h"
#include "fs/base/result.h"
#include "fs/fuse/id_map.h"
#include "fs/fuse/reply.h"
#include "fs/view/union_view.h"

namespace varve::fuse {

// The kernel may keep what it was told for a day: nobody but it changes the mount.
inline constexpr double kTimeoutSeconds = 86400.0;

// What libfuse hands to every request.
struct SessionState {
  view::UnionView* view = nullptr;
  IdMaps ids;
  std::function<void()> on_ready;
  // What getxattr(2) of kStatusXattr on the root tells; null: it is an xattr like any other.
  std::function<std::string()> status;
  struct fuse_session* session = nullptr;
  // Set by INIT, before any other request: OPEN (OPENDIR) is answered with ENOSYS, once, and the kernel never sends it again.
  bool without_open = false;
  bool without_opendir = false;
  // Nodes forgotten since memory was given back last.
  std::atomic<std::uint64_t> forgotten{0};
};

inline const SessionState& state_of(fuse_req_t request) {
  return *static_cast<const SessionState*>(fuse_req_userdata(request));
}

// A request that carries no handle, as the kernel sends it once OPEN was answered with ENOSYS: it names the node only.
// Handles are numbered from 1.
inline bool is_by_node(const struct fuse_file_info* info) {
  return info->fh == 0;
}

inline view::UnionView& view_of(fuse_req_t request) {
  return *static_cast<SessionState*>(fuse_req_userdata(request))->view;
}

inline view::Caller caller_of(fuse_req_t request) {
  const struct fuse_ctx* context = fuse_req_ctx(request);
  const IdMaps& ids = state_of(request).ids;
  return view::Caller{ids.users.stored(context->uid), ids.groups.stored(context->gid), context->umask};
}

// Runs a handler's body. Memory that cannot be had is an answer, not the end of the mount.
template <class Body>
void answer(fuse_req_t request, const Body& body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    reply_error(request, ENOMEM);
  }
}

// How long the kernel may keep the attributes of `entry`.
inline double attribute_timeout(const view::EntryReply& entry) {
  return entry.changes_unseen ? 0 : kTimeoutSeconds;
}

// The kernel is to ask for the attributes of `node` again. Told before the answer to `request`, after what it changed: without its doing,
// or by its doing where it marks them as old and no more (docs/decisions/0026). An answer with the old ones that is under way is put aside.
inline void forget_attributes(fuse_req_t request, fuse_ino_t node) {
  // ENOENT: it does not know the node (any more).
  fuse_lowlevel_notify_inval_inode(state_of(request).session, node, -1, 0);
}

inline void reply_status(fuse_req_t request, const Status& status) {
  reply_error(request, error_number(status));
}

// The answer to a request that has changed `node`, its names or what belongs to it, if it has.
inline void reply_changed(fuse_req_t request, fuse_ino_t node, const Status& status) {
  if (status.ok()) forget_attributes(request, node);
  reply_status(request, status);
}

// With the owners that callers of the mount see.
struct stat to_stat(fuse_req_t request, const view::EntryReply& entry);
struct fuse_entry_param to_entry_param(fuse_req_t request, const view::EntryReply& entry);
// As it goes to the kernel.
struct fuse_entry_out to_entry_out(const struct fuse_entry_param& param);

void reply_entry(fuse_req_t request, const Result<view::EntryReply>& entry);
void reply_attributes(fuse_req_t request, const Result<view::EntryReply>& entry);
// xattr calls: `size` 0 asks for the size; ERANGE when the value does not fit.
void reply_sized(fuse_req_t request, const std::string& value, std::size_t size);

// Each file of handlers fills in its family of opcodes.
void add_name_handlers(struct fuse_lowlevel_ops& operations);
void add_attribute_handlers(struct fuse_lowlevel_ops& operations);
void add_file_handlers(struct fuse_lowlevel_ops& operations);
void add_directory_handlers(struct fuse_lowlevel_ops& operations);

}  // namespace varve::fuse
