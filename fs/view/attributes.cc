// Attributes and extended attributes.

#include <sys/stat.h>

#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {

Result<EntryReply> UnionView::getattr(NodeId id) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr found, node(id));
  return reply_for(found);
}

Result<EntryReply> UnionView::setattr(NodeId id, const AttributeChange& change) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr target, node(id));
  if (change.size_bytes) VARVE_RETURN_IF_ERROR(truncate(target, *change.size_bytes));
  VARVE_RETURN_IF_ERROR(copy_up_above(target));
  const MutexLock lock(target->mutex);
  VARVE_ASSIGN(const AttributeChange left, copy_up_changed_locked(*target, change));
  settle_set_id_locked(*target);
  VARVE_ASSIGN(const Place place, place_locked(*target));
  VARVE_RETURN_IF_ERROR(change_stored(place, left));
  const Result<Attributes> now = attributes_locked(*target);
  watch_set_id_locked(*target, now);
  if (!now.ok()) return now.error();
  return changed_reply_locked(*target, *now);
}

Result<AttributeChange> UnionView::copy_up_changed_locked(Node& target, const AttributeChange& change) {
  if (target.in_upper) return change;
  AttributeChange left = change;
  CopyAs as;
  // A change of owner would clear set-id bits again; a symbolic link has no mode to change.
  if (!change.uid && !change.gid && target.type() != S_IFLNK) as.permissions = change.permissions;
  VARVE_RETURN_IF_ERROR(copy_up_one_locked(target, as));
  if (!as.permissions) return left;
  VARVE_ASSIGN(const Attributes stored, stored_attributes_locked(target));
  if ((stored.mode & 07777) == *as.permissions) left.permissions.reset();
  return left;
}

Status UnionView::change_stored(const Place& place, const AttributeChange& change) {
  if (change.uid || change.gid) {
    // Before the permissions: a change of owner clears set-id bits that the caller may set at the same time.
    VARVE_RETURN_IF_ERROR(store_->change_owner(place.ref(), change.uid ? std::int64_t{*change.uid} : -1,
                                               change.gid ? std::int64_t{*change.gid} : -1));
  }
  bool changes_mode = change.permissions.has_value();
  if (changes_mode && (change.uid || change.gid)) {
    // The kernel asks for what a change of owner does of itself: that must not fail after it.
    const Result<Attributes> now = store_->attributes(place.ref());
    changes_mode = !now.ok() || (now->mode & 07777) != *change.permissions;
  }
  if (changes_mode) VARVE_RETURN_IF_ERROR(store_->change_mode(place.ref(), *change.permissions));
  if (change.atime || change.mtime) {
    const struct timespec omit = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    const struct timespec times[2] = {change.atime.value_or(omit), change.mtime.value_or(omit)};
    VARVE_RETURN_IF_ERROR(store_->change_times(place.ref(), times));
  }
  return {};
}

Result<std::string> UnionView::readlink(NodeId id) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr link, node(id));
  if (link->type() != S_IFLNK) return Errno{EINVAL};
  const MutexLock lock(link->mutex);
  if (!link->in_upper) return stack_->layer(link->lower.slot).read_link(link->lower.id);
  VARVE_ASSIGN(const Place place, place_locked(*link));
  return store_->read_link(place.ref());
}

Result<std::vector<std::string>> UnionView::listxattr(NodeId id) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr target, node(id));
  const MutexLock lock(target->mutex);
  if (!target->in_upper) return stack_->layer(target->lower.slot).xattr_names(target->lower.id);
  VARVE_ASSIGN(const Place place, place_locked(*target));
  return store_->xattr_names(place.ref());
}

Result<std::string> UnionView::getxattr(NodeId id, std::string_view name) {
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr target, node(id));
  const MutexLock lock(target->mutex);
  if (!target->in_upper) return stack_->layer(target->lower.slot).xattr(target->lower.id, name);
  // The kernel asks for it before each first write and change of owner.
  const bool capabilities = name == kCapabilities;
  if (capabilities && target->upper().lacks_capabilities) return Errno{ENODATA};
  VARVE_ASSIGN(const Place place, place_locked(*target));
  Result<std::string> value = store_->xattr(place.ref(), name);
  if (capabilities && !value.ok() && value.error().value == ENODATA) {
    target->upper().lacks_capabilities = true;
  }
  return value;
}

Status UnionView::setxattr(NodeId id, std::string_view name, std::string_view value, int flags) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr target, node(id));
  VARVE_RETURN_IF_ERROR(copy_up(target));
  const MutexLock lock(target->mutex);
  VARVE_ASSIGN(const Place place, place_locked(*target));
  if (name == kCapabilities) target->upper().lacks_capabilities = false;
  return store_->set_xattr(place.ref(), name, value, flags);
}

Status UnionView::removexattr(NodeId id, std::string_view name) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr target, node(id));
  VARVE_RETURN_IF_ERROR(copy_up(target));
  const MutexLock lock(target->mutex);
  VARVE_ASSIGN(const Place place, place_locked(*target));
  return store_->remove_xattr(place.ref(), name);
}

}  // namespace varve::view
