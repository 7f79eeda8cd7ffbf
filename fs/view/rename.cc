// Rename. A directory that shows something of the layers moves by a redirect: the mark on its upper directory
// says where in the layers its content lies, so the cost does not depend on the tree below it.

#include <sys/stat.h>

#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {
namespace {

// Deviation: a redirect that is too long for an xattr of the file system below (ext4: about 4 KiB for all of an object) gives EXDEV,
// upon which mv copies, instead of an ENOSPC that no space would mend. A shorter one is not the xattr's fault.
bool fits_no_xattr(const std::string& redirect, Errno error) {
  constexpr std::size_t kAlwaysFitsBytes = 1024;
  return redirect.size() > kAlwaysFitsBytes &&
         (error.value == ENOSPC || error.value == E2BIG || error.value == ERANGE);
}

}  // namespace

Result<UnionView::RenameSide> UnionView::rename_side(NodeId parent_id, std::string_view bytes) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  VARVE_ASSIGN(NodePtr parent, directory_node(parent_id));
  VARVE_ASSIGN(Found found, find_name(*parent, name));
  NodePtr node;
  if (found.exists()) {
    VARVE_ASSIGN(node, bind(parent, name, found));
  }
  return RenameSide{std::move(parent), name, std::move(found), std::move(node)};
}

Status UnionView::check_rename(const RenameSide& from, const RenameSide& to, unsigned flags) {
  {
    const MutexLock lock(to.parent->mutex);
    if (to.parent->directory().removed) return Errno{ENOENT};
  }
  if (from.node == nullptr) return Errno{ENOENT};
  if ((flags & RENAME_EXCHANGE) != 0) return to.node == nullptr ? Status(Errno{ENOENT}) : Status();
  if (to.node == nullptr) return {};
  if ((flags & RENAME_NOREPLACE) != 0) return Errno{EEXIST};
  if (from.node->is_directory() && !to.node->is_directory()) return Errno{ENOTDIR};
  if (!from.node->is_directory() && to.node->is_directory()) return Errno{EISDIR};
  if (to.node->is_directory()) VARVE_RETURN_IF_ERROR(require_empty(to.node));
  return {};
}

Result<Renamed> UnionView::rename(const RenameNames& names, unsigned flags, Caller caller) {
  constexpr unsigned kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if ((flags & ~kKnown) != 0 || (exchange && flags != RENAME_EXCHANGE)) return Errno{EINVAL};
  VARVE_RETURN_IF_ERROR(require_writable());
  const WriterLock tree(tree_);
  VARVE_ASSIGN(RenameSide from, rename_side(names.from_parent, names.from_name));
  VARVE_ASSIGN(RenameSide to, rename_side(names.to_parent, names.to_name));
  VARVE_RETURN_IF_ERROR(check_rename(from, to, flags));
  Renamed renamed{.moved = from.node->id(), .exchanged = {}};
  if (from.node == to.node) return renamed;  // two names of one file: rename(2) says to do nothing
  if (exchange) renamed.exchanged = to.node->id();
  VARVE_RETURN_IF_ERROR(rename_in_tree(from, to, exchange));
  if ((flags & RENAME_WHITEOUT) != 0) VARVE_RETURN_IF_ERROR(leave_whiteout(from, caller));
  return renamed;
}

// The whiteout is one of whoever asked for it, an overlayfs above this mount for instance: to us a device as any other.
Status UnionView::leave_whiteout(const RenameSide& from, Caller caller) {
  const Result<Made> made = make_object(from.parent->id(), from.name.view(),
                                        upper::NewObject{.mode = S_IFCHR,
                                                         .umask = 0,
                                                         .uid = caller.uid,
                                                         .gid = caller.gid,
                                                         .rdev = 0,
                                                         .symlink_target = {}});
  return made.ok() ? Status() : Status(made.error());
}

// Makes sure that the upper holds the object under this very name.
Status UnionView::raise_for_rename(RenameSide& side) {
  VARVE_RETURN_IF_ERROR(copy_up(side.node));
  return name_in_upper(*side.node, side.parent, side.name);
}

Result<std::string> UnionView::lower_path(const NodePtr& directory) {
  std::vector<std::string> parts;
  NodePtr at = directory;
  std::string start;
  while (at->id() != kRoot) {
    const MutexLock lock(at->mutex);
    if (at->in_upper && at->upper().marks.redirect) {
      start = *at->upper().marks.redirect;
      break;
    }
    if (at->aliases.empty()) return Errno{ESTALE};
    parts.push_back(at->aliases.front().name);
    const NodePtr parent = at->aliases.front().parent;
    at = parent;
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) start += "/" + *part;
  return start;
}

Status UnionView::mark_moved_directory(const RenameSide& moved, const RenameSide& destination) {
  if (!moved.node->is_directory()) return {};
  if (moved.node->directory().lower != nullptr) {
    VARVE_ASSIGN(const std::string path, lower_path(moved.node));
    const MutexLock lock(moved.node->mutex);
    if (moved.node->upper().marks.redirect) return {};
    VARVE_ASSIGN(const Place place, place_locked(*moved.node));
    if (const Status marked = store_->set_redirect(place.ref(), path); !marked.ok()) {
      return fits_no_xattr(path, marked.error()) ? Errno{EXDEV} : marked.error();
    }
    moved.node->upper().marks.redirect = path;
    return {};
  }
  const MutexLock lock(moved.node->mutex);
  if (moved.node->upper().marks.opaque || !destination.found.lower) return {};
  // Else the lower directory of the new name would show through.
  VARVE_ASSIGN(const Place place, place_locked(*moved.node));
  VARVE_RETURN_IF_ERROR(store_->set_opaque(place.ref()));
  moved.node->upper().marks.opaque = true;
  return {};
}

void UnionView::replace_target(const RenameSide& to, bool last_name) {
  const MutexLock lock(to.node->mutex);
  drop_alias_locked(*to.node, *to.parent, to.name.view());
  if (to.node->is_directory()) {
    to.node->directory().removed = true;
    table_.detach(*to.node);
    return;
  }
  if (last_name) after_last_name_locked(*to.node);
}

Status UnionView::rename_in_tree(RenameSide& from, RenameSide& to, bool exchange) {
  VARVE_RETURN_IF_ERROR(copy_up(from.parent));
  VARVE_RETURN_IF_ERROR(copy_up(to.parent));
  names_change(*from.parent);
  names_change(*to.parent);
  VARVE_RETURN_IF_ERROR(raise_for_rename(from));
  VARVE_RETURN_IF_ERROR(mark_moved_directory(from, to));
  bool last_name_of_target = false;
  if (exchange) {
    VARVE_RETURN_IF_ERROR(raise_for_rename(to));
    VARVE_RETURN_IF_ERROR(mark_moved_directory(to, from));
  } else if (to.node != nullptr) {
    const MutexLock lock(to.node->mutex);
    VARVE_RETURN_IF_ERROR(prepare_unlink_locked(*to.node));
    if (to.node->in_upper) {
      // A name that only a layer shows, too: it goes, and the link count with it, in the step of the rename.
      VARVE_RETURN_IF_ERROR(name_in_upper_locked(*to.node, to.parent, to.name));
      VARVE_RETURN_IF_ERROR(pin_locked(*to.node));
    }
    VARVE_ASSIGN(last_name_of_target, has_one_name_locked(*to.node));
    if (last_name_of_target) VARVE_RETURN_IF_ERROR(keep_data_locked(*to.node));
  }
  VARVE_ASSIGN(const Place from_place, place_in(*from.parent, from.name));
  VARVE_ASSIGN(const Place to_place, place_in(*to.parent, to.name));
  const bool to_is_directory = to.node != nullptr && to.node->is_directory() &&
                               to.found.upper.kind == upper::UpperEntry::Kind::kObject;
  VARVE_RETURN_IF_ERROR(
      store_->rename(upper::Rename{.from = from_place.ref(),
                                   .to = to_place.ref(),
                                   .exchange = exchange,
                                   .whiteout_source = !exchange && from.found.lower.has_value(),
                                   .to_is_directory = !exchange && to_is_directory}));
  if (from.node->is_directory() || (to.node != nullptr && to.node->is_directory())) {
    subdirectories_changed(*from.parent);
    subdirectories_changed(*to.parent);
  }
  if (!exchange && to.node != nullptr) replace_target(to, last_name_of_target);
  {
    const MutexLock lock(from.node->mutex);
    drop_alias_locked(*from.node, *from.parent, from.name.view());
  }
  add_alias(*from.node, to.parent, to.name, true);
  if (!exchange) return {};
  {
    const MutexLock lock(to.node->mutex);
    drop_alias_locked(*to.node, *to.parent, to.name.view());
  }
  add_alias(*to.node, from.parent, from.name, true);
  return {};
}

}  // namespace varve::view
