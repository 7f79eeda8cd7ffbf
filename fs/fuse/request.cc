#include "fs/fuse/request.h"

namespace varve::fuse {
namespace {

struct timespec to_timespec(const Timestamp& time) {
  return {.tv_sec = time.seconds, .tv_nsec = static_cast<long>(time.nanoseconds)};
}

// As it goes to the kernel.
struct fuse_attr to_attr(const struct stat& stat) {
  struct fuse_attr out {};
  out.ino = stat.st_ino;
  out.size = static_cast<std::uint64_t>(stat.st_size);
  out.blocks = static_cast<std::uint64_t>(stat.st_blocks);
  out.atime = static_cast<std::uint64_t>(stat.st_atim.tv_sec);
  out.mtime = static_cast<std::uint64_t>(stat.st_mtim.tv_sec);
  out.ctime = static_cast<std::uint64_t>(stat.st_ctim.tv_sec);
  out.atimensec = static_cast<std::uint32_t>(stat.st_atim.tv_nsec);
  out.mtimensec = static_cast<std::uint32_t>(stat.st_mtim.tv_nsec);
  out.ctimensec = static_cast<std::uint32_t>(stat.st_ctim.tv_nsec);
  out.mode = stat.st_mode;
  out.nlink = static_cast<std::uint32_t>(stat.st_nlink);
  out.uid = stat.st_uid;
  out.gid = stat.st_gid;
  out.rdev = static_cast<std::uint32_t>(stat.st_rdev);
  out.blksize = static_cast<std::uint32_t>(stat.st_blksize);
  return out;
}

}  // namespace

struct stat to_stat(fuse_req_t request, const view::EntryReply& entry) {
  struct stat stat {};
  stat.st_ino = entry.inode_number;
  stat.st_mode = entry.attributes.mode;
  stat.st_nlink = entry.attributes.nlink;
  const IdMaps& ids = state_of(request).ids;
  stat.st_uid = ids.users.shown(entry.attributes.uid);
  stat.st_gid = ids.groups.shown(entry.attributes.gid);
  stat.st_rdev = entry.attributes.rdev;
  stat.st_size = static_cast<off_t>(entry.attributes.size_bytes);
  stat.st_blksize = 4096;
  stat.st_blocks = static_cast<blkcnt_t>(entry.attributes.blocks_512);
  stat.st_atim = to_timespec(entry.attributes.atime);
  stat.st_mtim = to_timespec(entry.attributes.mtime);
  stat.st_ctim = to_timespec(entry.attributes.ctime);
  return stat;
}

struct fuse_entry_param to_entry_param(fuse_req_t request, const view::EntryReply& entry) {
  struct fuse_entry_param param {};
  param.ino = entry.id.value();
  param.generation = 1;  // node numbers are never given out twice
  param.attr = to_stat(request, entry);
  param.attr_timeout = attribute_timeout(entry);
  param.entry_timeout = kTimeoutSeconds;
  return param;
}

struct fuse_entry_out to_entry_out(const struct fuse_entry_param& param) {
  struct fuse_entry_out out {};
  out.nodeid = param.ino;
  out.generation = param.generation;
  out.entry_valid = static_cast<std::uint64_t>(param.entry_timeout);
  out.attr_valid = static_cast<std::uint64_t>(param.attr_timeout);
  out.attr = to_attr(param.attr);
  return out;
}

void reply_entry(fuse_req_t request, const Result<view::EntryReply>& entry) {
  if (!entry.ok()) {
    reply_error(request, entry.error().value);
    return;
  }
  view::UnionView& view = view_of(request);
  // The caller was interrupted: the kernel never saw the entry, and will not forget it.
  if (reply_struct(request, to_entry_out(to_entry_param(request, *entry))) == -ENOENT)
    view.forget(entry->id, 1);
}

void reply_attributes(fuse_req_t request, const Result<view::EntryReply>& entry) {
  if (!entry.ok()) {
    reply_error(request, entry.error().value);
    return;
  }
  struct fuse_attr_out out {};
  out.attr_valid = static_cast<std::uint64_t>(attribute_timeout(*entry));
  out.attr = to_attr(to_stat(request, *entry));
  reply_struct(request, out);
}

void reply_sized(fuse_req_t request, const std::string& value, std::size_t size) {
  if (size == 0) {
    struct fuse_getxattr_out out {};
    out.size = static_cast<std::uint32_t>(value.size());
    reply_struct(request, out);
  } else if (value.size() > size) {
    reply_error(request, ERANGE);
  } else {
    reply_bytes(request, std::as_bytes(std::span(value)));
  }
}

}  // namespace varve::fuse
