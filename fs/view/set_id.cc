// Set-id bits go when somebody without CAP_FSETID writes. The kernel says so with each write that comes here. Of a file that it
// writes itself (Backing) nothing is heard: such files have no set-id bits when they are opened; when they are given some later, a
// change of their mtime tells of a write (docs/decisions/0012).

#include <sys/stat.h>

#include <cstring>

#include "fs/base/log.h"
#include "fs/view/union_view.h"

namespace varve::view {
namespace {

std::uint32_t without_set_id(std::uint32_t mode) {
  std::uint32_t left = mode & ~static_cast<std::uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) left &= ~static_cast<std::uint32_t>(S_ISGID);
  return left;
}

bool has_set_id(std::uint32_t mode) {
  return without_set_id(mode) != mode;
}

}  // namespace

Result<bool> UnionView::drop_set_id_of(const NodePtr& node) {
  VARVE_RETURN_IF_ERROR(require_writable());
  if (!node->is_regular()) return false;
  const ReaderLock tree(tree_);
  {
    const MutexLock lock(node->mutex);
    VARVE_ASSIGN(const Attributes now,
                 node->in_upper ? stored_attributes_locked(*node) : lower_attributes_locked(*node));
    if (!has_set_id(now.mode)) {
      if (node->data != nullptr) node->data->lacks_set_id = true;
      return false;
    }
  }
  VARVE_RETURN_IF_ERROR(copy_up(node));
  const MutexLock lock(node->mutex);
  VARVE_ASSIGN(const Attributes now, stored_attributes_locked(*node));
  if (!has_set_id(now.mode)) return false;
  VARVE_ASSIGN(const Place place, place_locked(*node));
  VARVE_RETURN_IF_ERROR(store_->change_mode(place.ref(), without_set_id(now.mode) & 07777));
  return true;
}

Status UnionView::drop_capabilities(Node& file) {
  const MutexLock lock(file.mutex);
  if (file.upper().lacks_capabilities) return {};
  VARVE_ASSIGN(const Place place, place_locked(file));
  if (!store_->xattr(place.ref(), kCapabilities).ok()) return {};
  return store_->remove_xattr(place.ref(), kCapabilities);
}

Result<bool> UnionView::drop_set_id(NodeId id) {
  VARVE_ASSIGN(const NodePtr file, node(id));
  return drop_set_id_of(file);
}

Result<bool> UnionView::drop_set_id(HandleId id) {
  const std::shared_ptr<FileHandle> handle = handles_.find(id);
  if (handle == nullptr) return Errno{EBADF};
  if (handle->data->lacks_set_id) return false;
  return drop_set_id_of(handle->node);
}

void UnionView::watch_set_id_locked(Node& node, const Result<Attributes>& now) {
  if (node.data == nullptr) return;
  node.data->lacks_set_id = false;
  node.data->set_id_since.reset();
  if (node.data->backing() == nullptr) return;
  // Where the time cannot be read, any will count as later.
  if (!now.ok() || has_set_id(now->mode)) node.data->set_id_since = now.ok() ? now->mtime : Timestamp{};
}

Status UnionView::take_new_set_id_locked(Node& node) {
  VARVE_ASSIGN(const Attributes now, stored_attributes_locked(node));
  if (now.mtime == *node.data->set_id_since || !has_set_id(now.mode)) return {};
  VARVE_ASSIGN(const Place place, place_locked(node));
  VARVE_RETURN_IF_ERROR(store_->change_mode(place.ref(), without_set_id(now.mode) & 07777));
  node.data->set_id_since.reset();
  return {};
}

void UnionView::settle_set_id_locked(Node& node) {
  if (node.data == nullptr || !node.data->set_id_since) return;
  const Status settled = take_new_set_id_locked(node);
  if (!settled.ok()) {
    log_error("a file that was written to keeps its set-id bits: {}", std::strerror(settled.error().value));
  }
}

}  // namespace varve::view
