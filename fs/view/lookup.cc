// Look-up: what a name of the union means, and which node stands for it.

#include <sys/stat.h>

#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {

Result<UnionView::Found> UnionView::find_name(Node& parent, Name name) {
  Found found;
  if (parent.in_upper) {
    VARVE_ASSIGN(const Place place, place_in(parent, name));
    VARVE_ASSIGN(found.upper, store_->look_up(place.ref()));
  }
  VARVE_ASSIGN(found.lower, stack_->look_up(parent.directory().lower, name));
  return found;
}

Result<MergedDirectoryPtr> UnionView::merged_below(const upper::UpperEntry& entry,
                                                   const std::optional<LowerObject>& lower) const {
  if (!entry.attributes.is_directory() || entry.marks.opaque) return MergedDirectoryPtr();
  if (entry.marks.redirect) return stack_->directory_at(*entry.marks.redirect);
  if (lower) return lower->directory;
  return MergedDirectoryPtr();
}

// st_ino: of a copied-up object the number of what it was copied from, so that it does not change by copy-up, rename
// or remount; of a merged directory that carries no origin (another program made it) that of the topmost layer's; else
// the upper's own.
Result<std::uint64_t> UnionView::inode_number_of(const upper::UpperEntry& entry,
                                                 const std::optional<LowerObject>& merged) const {
  const std::optional<upper::Origin>& origin = entry.marks.origin;
  if (origin && stack_->has_slot(origin->slot)) {
    return LowerStack::make_inode_number(origin->slot, origin->inode_number);
  }
  if (entry.attributes.is_directory() && !entry.marks.opaque && !entry.marks.redirect && merged &&
      merged->directory != nullptr) {
    return stack_->inode_number(merged->top);
  }
  return LowerStack::make_inode_number(LayerSlot(0), entry.inode_number);
}

void UnionView::add_alias(Node& node, const NodePtr& parent, Name name, bool in_upper) {
  const MutexLock lock(node.mutex);
  for (Alias& alias : node.aliases) {
    if (alias.parent == parent && alias.name == name.view()) {
      alias.in_upper = alias.in_upper || in_upper;
      return;
    }
  }
  // A directory has one name; another one means that it was moved by a rename that this node did not see.
  if (node.is_directory()) node.aliases.clear();
  node.aliases.add(Alias{parent, name.str(), in_upper});
}

void UnionView::drop_alias_locked(Node& node, const Node& parent, std::string_view name) {
  node.aliases.remove_if(
      [&](const Alias& alias) { return alias.parent.get() == &parent && alias.name == name; });
}

Result<NodePtr> UnionView::bind_upper(const NodePtr& parent, Name name, const Found& found) {
  const upper::UpperEntry& entry = found.upper;
  VARVE_ASSIGN(std::uint64_t inode_number, inode_number_of(entry, found.lower));
  if (const NodePtr known = table_.find_by_inode(inode_number); known != nullptr && known->in_upper) {
    // Two objects of the upper that claim one origin (somebody copied them there by hand) must not become one file.
    const MutexLock lock(known->mutex);
    if (known->upper().inode != entry.inode_number) {
      inode_number = LowerStack::make_inode_number(LayerSlot(0), entry.inode_number);
    }
  }
  VARVE_ASSIGN(MergedDirectoryPtr below, merged_below(entry, found.lower));
  NodePtr node = table_.find_or_make(inode_number, entry.attributes.mode & S_IFMT,
                                     [&](Node& made) NO_THREAD_SAFETY_ANALYSIS {
                                       made.upper().marks = entry.marks;
                                       made.upper().inode = entry.inode_number;
                                       made.in_upper = true;
                                       if (made.is_directory()) made.directory().lower = std::move(below);
                                     });
  add_alias(*node, parent, name, true);
  return node;
}

Result<NodePtr> UnionView::bind_lower(const NodePtr& parent, Name name, const LowerObject& lower) {
  VARVE_ASSIGN(const std::uint64_t inode_number, stack_->inode_number(lower.top));
  std::optional<UniqueFd> indexed;
  upper::UpperEntry copied;
  if (store_ != nullptr && lower.type != S_IFDIR && table_.find_by_inode(inode_number) == nullptr) {
    // Another name of a hard link that was copied up: the upper's object is the file now.
    const upper::Origin origin{lower.top.slot, inode_number & ((std::uint64_t{1} << 40) - 1)};
    VARVE_ASSIGN(indexed, store_->find_indexed(origin));
    if (indexed) {
      VARVE_ASSIGN(copied, store_->look_up(upper::ObjectRef{indexed->get(), ""}));
    }
  }
  NodePtr node = table_.find_or_make(inode_number, lower.type, [&](Node& made) NO_THREAD_SAFETY_ANALYSIS {
    made.lower = lower.top;
    if (made.is_directory()) made.directory().lower = lower.directory;
    if (!indexed) return;
    made.upper().marks = copied.marks;
    made.upper().inode = copied.inode_number;
    made.upper().pinned = std::make_shared<const UniqueFd>(std::move(*indexed));
    made.in_upper = true;
  });
  add_alias(*node, parent, name, false);
  return node;
}

Result<NodePtr> UnionView::bind(const NodePtr& parent, Name name, const Found& found) {
  if (found.upper.kind == upper::UpperEntry::Kind::kObject) return bind_upper(parent, name, found);
  if (!found.exists()) return Errno{ENOENT};
  return bind_lower(parent, name, *found.lower);
}

Result<EntryReply> UnionView::lookup(NodeId parent_id, std::string_view bytes) {
  VARVE_ASSIGN(const Name name, Name::parse(bytes));
  const ReaderLock tree(tree_);
  VARVE_ASSIGN(const NodePtr parent, directory_node(parent_id));
  const ReaderLock entries(parent->directory().entries);
  VARVE_ASSIGN(const Found found, find_name(*parent, name));
  VARVE_ASSIGN(const NodePtr node, bind(parent, name, found));
  return referenced_reply(node, found);
}

void UnionView::forget(NodeId id, std::uint64_t count) {
  table_.forget(id, count);
}

}  // namespace varve::view
