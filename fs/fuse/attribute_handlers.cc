// GETATTR, SETATTR, READLINK, the xattr requests and STATFS.

#include <sys/stat.h>

#include <optional>
#include <span>

#include "fs/fuse/dispatch.h"
#include "fs/fuse/request.h"
#include "fs/fuse/status.h"

namespace varve::fuse {
namespace {

void do_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info*) {
  answer(request, [&] { reply_attributes(request, view_of(request).getattr(NodeId(node))); });
}

std::optional<struct timespec> time_to_set(int to_set, int flag, int now_flag, const struct timespec& value) {
  if ((to_set & now_flag) != 0) return timespec{.tv_sec = 0, .tv_nsec = UTIME_NOW};
  if ((to_set & flag) != 0) return value;
  return std::nullopt;
}

void do_setattr(fuse_req_t request, fuse_ino_t node, struct stat* stat, int to_set, struct fuse_file_info*) {
  answer(request, [&] {
    const IdMaps& ids = state_of(request).ids;
    view::AttributeChange change;
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) change.permissions = stat->st_mode & 07777;
    if ((to_set & FUSE_SET_ATTR_UID) != 0) change.uid = ids.users.stored(stat->st_uid);
    if ((to_set & FUSE_SET_ATTR_GID) != 0) change.gid = ids.groups.stored(stat->st_gid);
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) change.size_bytes = static_cast<std::uint64_t>(stat->st_size);
    change.atime = time_to_set(to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, stat->st_atim);
    change.mtime = time_to_set(to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, stat->st_mtim);
    view::UnionView& view = view_of(request);
    // A change of owner takes the bits in the same step. The answer brings the kernel the mode that is left.
    if (extras().kills_set_id && change.size_bytes) {
      if (const auto dropped = view.drop_set_id(NodeId(node)); !dropped.ok()) {
        reply_error(request, dropped.error().value);
        return;
      }
    }
    reply_attributes(request, view.setattr(NodeId(node), change));
  });
}

void do_readlink(fuse_req_t request, fuse_ino_t node) {
  answer(request, [&] {
    const Result<std::string> target = view_of(request).readlink(NodeId(node));
    if (target.ok()) {
      reply_bytes(request, std::as_bytes(std::span(*target)));
    } else {
      reply_error(request, target.error().value);
    }
  });
}

void do_getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t size) {
  answer(request, [&] {
    if (node == FUSE_ROOT_ID && name == kStatusXattr && state_of(request).status &&
        may_ask_for_status(*fuse_req_ctx(request))) {
      reply_sized(request, state_of(request).status(), size);
      return;
    }
    Result<std::string> value = view_of(request).getxattr(NodeId(node), name);
    if (value.ok()) {
      const IdMaps& ids = state_of(request).ids;
      if (!ids.is_identity() && is_acl(name)) *value = ids.shown_acl(*value);
      reply_sized(request, *value, size);
    } else {
      reply_error(request, value.error().value);
    }
  });
}

void do_listxattr(fuse_req_t request, fuse_ino_t node, std::size_t size) {
  answer(request, [&] {
    const Result<std::vector<std::string>> names = view_of(request).listxattr(NodeId(node));
    if (!names.ok()) {
      reply_error(request, names.error().value);
      return;
    }
    std::string list;
    for (const std::string& name : *names) list.append(name).push_back('\0');
    reply_sized(request, list, size);
  });
}

// The change moves the ctime, and that of an ACL the mode.
void do_setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value, std::size_t size,
                 int flags) {
  answer(request, [&] {
    std::string_view bytes(value, size);
    std::string mapped;
    const IdMaps& ids = state_of(request).ids;
    if (!ids.is_identity() && is_acl(name)) bytes = mapped = ids.stored_acl(bytes);
    reply_changed(request, node, view_of(request).setxattr(NodeId(node), name, bytes, flags));
  });
}

void do_removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  answer(request, [&] { reply_changed(request, node, view_of(request).removexattr(NodeId(node), name)); });
}

struct fuse_statfs_out to_statfs_out(const struct statvfs& statistics) {
  struct fuse_statfs_out out {};
  out.st.bsize = static_cast<std::uint32_t>(statistics.f_bsize);
  out.st.frsize = static_cast<std::uint32_t>(statistics.f_frsize);
  out.st.blocks = statistics.f_blocks;
  out.st.bfree = statistics.f_bfree;
  out.st.bavail = statistics.f_bavail;
  out.st.files = statistics.f_files;
  out.st.ffree = statistics.f_ffree;
  out.st.namelen = static_cast<std::uint32_t>(statistics.f_namemax);
  return out;
}

void do_statfs(fuse_req_t request, fuse_ino_t) {
  answer(request, [&] {
    const Result<struct statvfs> statistics = view_of(request).statfs();
    if (statistics.ok()) {
      reply_struct(request, to_statfs_out(*statistics));
    } else {
      reply_error(request, statistics.error().value);
    }
  });
}

}  // namespace

void add_attribute_handlers(struct fuse_lowlevel_ops& operations) {
  operations.getattr = do_getattr;
  operations.setattr = do_setattr;
  operations.readlink = do_readlink;
  operations.getxattr = do_getxattr;
  operations.listxattr = do_listxattr;
  operations.setxattr = do_setxattr;
  operations.removexattr = do_removexattr;
  operations.statfs = do_statfs;
}

}  // namespace varve::fuse
