#include "fs/fuse/request.h"

namespace varve::fuse {
namespace {

struct timespec to_timespec(const Timestamp& time) {
  return {.tv_sec = time.seconds, .tv_nsec = static_cast<long>(time.nanoseconds)};
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
  const struct stat& stat = param.attr;
  struct fuse_entry_out out {};
  out.nodeid = param.ino;
  out.generation = param.generation;
  out.entry_valid = static_cast<std::uint64_t>(param.entry_timeout);
  out.attr_valid = static_cast<std::uint64_t>(param.attr_timeout);
  out.attr.ino = stat.st_ino;
  out.attr.size = static_cast<std::uint64_t>(stat.st_size);
  out.attr.blocks = static_cast<std::uint64_t>(stat.st_blocks);
  out.attr.atime = static_cast<std::uint64_t>(stat.st_atim.tv_sec);
  out.attr.mtime = static_cast<std::uint64_t>(stat.st_mtim.tv_sec);
  out.attr.ctime = static_cast<std::uint64_t>(stat.st_ctim.tv_sec);
  out.attr.atimensec = static_cast<std::uint32_t>(stat.st_atim.tv_nsec);
  out.attr.mtimensec = static_cast<std::uint32_t>(stat.st_mtim.tv_nsec);
  out.attr.ctimensec = static_cast<std::uint32_t>(stat.st_ctim.tv_nsec);
  out.attr.mode = stat.st_mode;
  out.attr.nlink = static_cast<std::uint32_t>(stat.st_nlink);
  out.attr.uid = stat.st_uid;
  out.attr.gid = stat.st_gid;
  out.attr.rdev = static_cast<std::uint32_t>(stat.st_rdev);
  out.attr.blksize = static_cast<std::uint32_t>(stat.st_blksize);
  return out;
}

void reply_entry(fuse_req_t request, const Result<view::EntryReply>& entry) {
  if (!entry.ok()) {
    fuse_reply_err(request, entry.error().value);
    return;
  }
  const struct fuse_entry_param param = to_entry_param(request, *entry);
  view::UnionView& view = view_of(request);
  // The caller was interrupted: the kernel never saw the entry, and will not forget it.
  if (fuse_reply_entry(request, &param) == -ENOENT) view.forget(entry->id, 1);
}

void reply_attributes(fuse_req_t request, const Result<view::EntryReply>& entry) {
  if (!entry.ok()) {
    fuse_reply_err(request, entry.error().value);
    return;
  }
  const struct stat stat = to_stat(request, *entry);
  fuse_reply_attr(request, &stat, attribute_timeout(*entry));
}

void reply_sized(fuse_req_t request, const std::string& value, std::size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, value.size());
  } else if (value.size() > size) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, value.data(), value.size());
  }
}

}  // namespace varve::fuse
