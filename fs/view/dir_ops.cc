// Making, linking and removing names.

#include <dirent.h>
#include <sys/stat.h>

#include <unordered_set>
#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {

Result<UnionView::Made> UnionView::make_object(NodeId parent_id, std::string_view bytes,
                                               upper::NewObject object, Use use) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  VARVE_ASSIGN(const NodePtr parent, directory_node(parent_id));
  VARVE_RETURN_IF_ERROR(copy_up(parent));
  const WriterLock entries(parent->directory().entries);
  names_change(*parent);
  {
    const MutexLock lock(parent->mutex);
    if (parent->directory().removed) return Errno{ENOENT};
  }
  VARVE_ASSIGN(const Found found, find_name(*parent, name));
  if (found.exists()) return Errno{EEXIST};
  // Else what the whiteout hides would show through the new directory.
  object.opaque = S_ISDIR(object.mode) && found.over_whiteout();
  VARVE_ASSIGN(const Place place, place_in(*parent, name));
  Found entry;
  Made made;
  if (use == Use::kOpen) {
    VARVE_ASSIGN(upper::UpperStore::Opened opened,
                 store_->create_open(place.ref(), object, found.over_whiteout()));
    entry.upper = std::move(opened.entry);
    made.fd = std::move(opened.fd);
  } else {
    VARVE_ASSIGN(entry.upper, store_->create(place.ref(), object, found.over_whiteout()));
  }
  if (S_ISDIR(object.mode)) subdirectories_changed(*parent);
  made.attributes = entry.upper.attributes;
  VARVE_ASSIGN(made.node, bind_upper(parent, name, entry));
  const MutexLock lock(made.node->mutex);
  made.node->upper().lacks_capabilities = true;
  return made;
}

EntryReply UnionView::referenced_reply(const Made& made) {
  table_.reference(made.node);
  const MutexLock lock(made.node->mutex);
  return reply_locked(*made.node, made.attributes);
}

Result<UnionView::Made> UnionView::make_unnamed(NodeId directory_id, const upper::NewObject& object) {
  VARVE_ASSIGN(const NodePtr directory, directory_node(directory_id));
  VARVE_RETURN_IF_ERROR(copy_up(directory));
  const ReaderLock entries(directory->directory().entries);
  {
    const MutexLock lock(directory->mutex);
    if (directory->directory().removed) return Errno{ENOENT};
  }
  VARVE_ASSIGN(const std::shared_ptr<const UniqueFd> fd, directory_fd(*directory));
  VARVE_ASSIGN(upper::UpperStore::Unnamed unnamed, store_->create_unnamed({fd->get(), {}}, object));
  const std::uint64_t number = LowerStack::make_inode_number(LayerSlot(0), unnamed.entry.inode_number);
  Made made;
  made.attributes = unnamed.entry.attributes;
  made.node = table_.find_or_make(number, S_IFREG, [&](Node& node) NO_THREAD_SAFETY_ANALYSIS {
    node.upper().marks = unnamed.entry.marks;
    node.upper().inode = unnamed.entry.inode_number;
    node.upper().pinned = std::make_shared<const UniqueFd>(std::move(unnamed.fd));
    node.in_upper = true;
  });
  return made;
}

Result<EntryReply> UnionView::mknod(NodeId parent, std::string_view name, std::uint32_t mode,
                                    std::uint64_t rdev, Caller caller) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const Made made, make_object(parent, name,
                                            upper::NewObject{.mode = mode,
                                                             .umask = caller.umask,
                                                             .uid = caller.uid,
                                                             .gid = caller.gid,
                                                             .rdev = rdev,
                                                             .symlink_target = {}}));
  return referenced_reply(made);
}

Result<EntryReply> UnionView::mkdir(NodeId parent, std::string_view name, std::uint32_t mode, Caller caller) {
  return mknod(parent, name, S_IFDIR | (mode & 07777), 0, caller);
}

Result<EntryReply> UnionView::symlink(NodeId parent, std::string_view name, std::string_view target,
                                      Caller caller) {
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const Made made, make_object(parent, name,
                                            upper::NewObject{.mode = S_IFLNK | 0777,
                                                             .umask = 0,
                                                             .uid = caller.uid,
                                                             .gid = caller.gid,
                                                             .symlink_target = std::string(target)}));
  return referenced_reply(made);
}

Result<EntryReply> UnionView::link(NodeId id, NodeId parent_id, std::string_view bytes) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr existing, node(id));
  if (existing->is_directory()) return Errno{EPERM};
  VARVE_ASSIGN(const NodePtr parent, directory_node(parent_id));
  VARVE_RETURN_IF_ERROR(copy_up(parent));
  VARVE_RETURN_IF_ERROR(copy_up(existing));
  const WriterLock entries(parent->directory().entries);
  names_change(*parent);
  {
    const MutexLock lock(parent->mutex);
    if (parent->directory().removed) return Errno{ENOENT};
  }
  VARVE_ASSIGN(const Found found, find_name(*parent, name));
  if (found.exists()) return Errno{EEXIST};
  {
    const MutexLock lock(existing->mutex);
    VARVE_ASSIGN(const Place from, place_locked(*existing));
    VARVE_ASSIGN(const Place where, place_in(*parent, name));
    VARVE_RETURN_IF_ERROR(store_->link(from.ref(), where.ref(), found.over_whiteout()));
  }
  add_alias(*existing, parent, name, true);
  const MutexLock lock(existing->mutex);
  // Of a file that O_TMPFILE made, or a name that only a layer showed: it is reached by the new one now.
  if (!existing->aliases.empty()) existing->upper().pinned.reset();
  VARVE_ASSIGN(const Attributes attributes, settled_attributes_locked(*existing));
  table_.reference(existing);
  return changed_reply_locked(*existing, attributes);
}

Status UnionView::prepare_unlink_locked(Node& child) {
  if (child.in_upper || child.is_directory()) return {};
  VARVE_ASSIGN(const Attributes attributes, stack_->layer(child.lower.slot).attributes(child.lower.id));
  if (child.opens == 0 && attributes.nlink <= 1) return {};
  return copy_up_one_locked(child, {});
}

Status UnionView::pin_locked(Node& node) {
  if (node.upper().pinned != nullptr || !table_.is_referenced(node.id())) return {};
  VARVE_ASSIGN(const Place place, place_locked(node));
  VARVE_ASSIGN(UniqueFd fd, store_->open_path(place.ref()));
  node.upper().pinned = std::make_shared<const UniqueFd>(std::move(fd));
  return {};
}

Status UnionView::keep_data_locked(Node& node) {
  if (!node.is_regular() || !node.in_upper || !node.upper().marks.base || !table_.is_referenced(node.id()))
    return {};
  if (node.upper().kept_data == nullptr) node.upper().kept_data = node.data;
  if (node.upper().kept_data != nullptr) return {};
  VARVE_ASSIGN(OpenData::View view, open_view_locked(node));
  node.upper().kept_data = std::make_shared<OpenData>(std::move(view), nullptr);
  return {};
}

Result<bool> UnionView::has_one_name_locked(Node& node) {
  if (!node.in_upper || node.is_directory()) return false;
  VARVE_ASSIGN(const Attributes attributes, upper_attributes_locked(node));
  return attributes.nlink <= 1;
}

void UnionView::after_last_name_locked(Node& node) {
  table_.detach(node);
  // An indexed object keeps one real link, its index entry, which is no name.
  if (node.upper().marks.origin) store_->drop_index(*node.upper().marks.origin);
}

Status UnionView::remove_name(const NodePtr& parent, Name name, bool leave_whiteout, const NodePtr& child,
                              const UpperListing& child_holds) {
  const MutexLock lock(child->mutex);
  VARVE_RETURN_IF_ERROR(prepare_unlink_locked(*child));
  // Also a name that only a layer shows: the whiteout takes its place, and the link count goes down, in one step.
  if (child->in_upper) VARVE_RETURN_IF_ERROR(name_in_upper_locked(*child, parent, name));
  VARVE_ASSIGN(const Place place, place_in(*parent, name));
  VARVE_ASSIGN(const bool last_name, has_one_name_locked(*child));
  if (child->in_upper) {
    // Whoever still has it open reaches it through this descriptor afterwards.
    VARVE_RETURN_IF_ERROR(pin_locked(*child));
    if (last_name) VARVE_RETURN_IF_ERROR(keep_data_locked(*child));
    VARVE_RETURN_IF_ERROR(child->is_directory()
                              ? store_->remove_directory(place.ref(), child_holds, leave_whiteout)
                              : store_->remove(place.ref(), leave_whiteout));
  } else {
    VARVE_RETURN_IF_ERROR(store_->whiteout(place.ref()));
  }
  drop_alias_locked(*child, *parent, name.view());
  if (child->is_directory()) {
    child->directory().removed = true;
    table_.detach(*child);
    subdirectories_changed(*parent);
    return {};
  }
  if (last_name) after_last_name_locked(*child);
  return {};
}

Status UnionView::unlink(NodeId parent_id, std::string_view bytes) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr parent, directory_node(parent_id));
  VARVE_RETURN_IF_ERROR(copy_up(parent));
  const WriterLock entries(parent->directory().entries);
  names_change(*parent);
  VARVE_ASSIGN(const Found found, find_name(*parent, name));
  VARVE_ASSIGN(const NodePtr child, bind(parent, name, found));
  if (child->is_directory()) return Errno{EISDIR};
  return remove_name(parent, name, found.lower.has_value(), child, {});
}

Status UnionView::rmdir(NodeId parent_id, std::string_view bytes) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  VARVE_RETURN_IF_ERROR(require_writable());
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr parent, directory_node(parent_id));
  VARVE_RETURN_IF_ERROR(copy_up(parent));
  const WriterLock entries(parent->directory().entries);
  names_change(*parent);
  VARVE_ASSIGN(const Found found, find_name(*parent, name));
  VARVE_ASSIGN(const NodePtr child, bind(parent, name, found));
  if (!child->is_directory()) return Errno{ENOTDIR};
  const WriterLock child_entries(child->directory().entries);
  VARVE_ASSIGN(const UpperListing whiteouts, require_empty(child));
  return remove_name(parent, name, found.lower.has_value(), child, whiteouts);
}

Result<UnionView::UpperListing> UnionView::require_empty(const NodePtr& directory) {
  UpperListing listed;
  std::unordered_set<std::string_view> hidden;
  if (directory->in_upper) {
    VARVE_ASSIGN(const std::shared_ptr<const UniqueFd> fd, directory_fd(*directory));
    VARVE_ASSIGN(listed, store_->list(upper::ObjectRef{fd->get(), ""}));
    for (const upper::UpperStore::ListedEntry& entry : listed) {
      if (!entry.whiteout) return Errno{ENOTEMPTY};
      hidden.insert(entry.name);
    }
  }
  bool empty = true;
  VARVE_RETURN_IF_ERROR(
      stack_->for_each(directory->directory().lower, [&](std::string_view name, LowerRef, std::uint32_t) {
        empty = hidden.contains(name);
        return empty;
      }));
  if (!empty) return Errno{ENOTEMPTY};
  return listed;
}

}  // namespace varve::view
