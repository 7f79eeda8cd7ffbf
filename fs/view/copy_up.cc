// Copy-up: giving a lower object its place in the upper. No data is copied: a regular file keeps reading from its
// layer what was not written (upper/cow_file.h).

#include <sys/stat.h>

#include <utility>
#include <vector>

#include "fs/view/union_view.h"

namespace varve::view {

Status UnionView::copy_up(const NodePtr& node, Content content) {
  if (node->in_upper) return {};
  VARVE_RETURN_IF_ERROR(copy_up_above(node));
  return copy_up_one(*node, {.content = content, .permissions = {}});
}

Status UnionView::copy_up_above(const NodePtr& node) {
  VARVE_RETURN_IF_ERROR(require_writable());
  // The lower-only directories on the way up, nearest first; a loop, because paths may be very deep.
  std::vector<NodePtr> chain;
  for (NodePtr at = node;;) {
    NodePtr parent;
    {
      const MutexLock lock(at->mutex);
      if (at->in_upper) break;
      if (at->aliases.empty()) {
        // A directory is gone; any other object that was asked for by a name may go on without it.
        if (at != node || node->is_directory()) return Errno{ESTALE};
        break;
      }
      parent = at->aliases.front().parent;
    }
    if (parent->in_upper) break;
    chain.push_back(parent);
    at = std::move(parent);
  }
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) VARVE_RETURN_IF_ERROR(copy_up_one(**at, {}));
  return {};
}

Status UnionView::copy_up_one(Node& node, const CopyAs& as) {
  const MutexLock lock(node.mutex);
  return copy_up_one_locked(node, as);
}

Status UnionView::copy_up_one_locked(Node& node, const CopyAs& as) {
  if (node.in_upper) return {};
  if (node.aliases.empty() && !node.is_directory()) return copy_up_unnamed_locked(node, as);
  for (Alias& alias : node.aliases) {
    if (!alias.parent->in_upper) continue;
    VARVE_ASSIGN(std::shared_ptr<const UniqueFd> parent, directory_fd(*alias.parent));
    return publish_copy_up_locked(node, alias, Place{std::move(parent), alias.name}, as);
  }
  return Errno{ESTALE};  // its name went away meanwhile
}

// The kernel had looked the name up before it went, and asks for a change now. On one file system the object is there as long as
// anybody refers to it. Rare, and the object is nobody's but the caller's: its data may be copied.
Status UnionView::copy_up_unnamed_locked(Node& node, const CopyAs& as) {
  VARVE_ASSIGN(upper::CopyUp source, describe_copy_up_locked(node, as));
  source.indexed = false;
  std::unique_ptr<layer::LowerFile> whole;
  if (source.base) {
    VARVE_ASSIGN(whole, stack_->layer(node.lower.slot).open_file(node.lower.id));
    source.content = whole.get();
  }
  VARVE_ASSIGN(upper::UpperStore::Unnamed made, store_->copy_up_unnamed(source));
  node.upper().pinned = std::make_shared<const UniqueFd>(std::move(made.fd));
  return adopt_upper_locked(node, Place{node.upper().pinned, ""},
                            {made.entry.inode_number, std::move(made.entry.marks)});
}

Status UnionView::publish_copy_up_locked(Node& node, Alias& alias, const Place& where, const CopyAs& as) {
  VARVE_ASSIGN(upper::CopyUp source, describe_copy_up_locked(node, as));
  Result<upper::UpperStore::Copied> made = store_->copy_up(where.ref(), source);
  std::unique_ptr<layer::LowerFile> whole;
  if (!made.ok() && made.error().value == ENOSPC && source.base) {
    // Perhaps only the mark that names the base found no room (ext4 holds 4 KiB of xattrs): then all data is copied.
    VARVE_ASSIGN(whole, stack_->layer(node.lower.slot).open_file(node.lower.id));
    source.content = whole.get();
    made = store_->copy_up(where.ref(), source);
  }
  if (!made.ok()) return made.error();
  alias.in_upper = true;
  return adopt_upper_locked(node, where, std::move(*made));
}

Status UnionView::adopt_upper_locked(Node& node, const Place& where, upper::UpperStore::Copied copied) {
  node.upper().marks = std::move(copied.marks);
  node.upper().inode = copied.inode_number;
  node.in_upper = true;
  node.upper().untouched = node.upper().marks.base.has_value() && node.data == nullptr;
  if (node.data == nullptr) return {};
  std::unique_ptr<layer::LowerFile> base;
  if (node.upper().marks.base) {
    VARVE_ASSIGN(base, stack_->layer(node.lower.slot).open_file(node.lower.id));
  }
  VARVE_ASSIGN(std::unique_ptr<upper::CowFile> file,
               upper::CowFile::open(*store_, where.ref(), node.upper().marks, std::move(base)));
  node.data->replace(OpenData::View{nullptr, std::move(file)});
  return {};
}

Result<upper::CopyUp> UnionView::describe_copy_up_locked(Node& node, const CopyAs& as) {
  VARVE_CHECK(node.lower.slot != LayerSlot());
  const layer::Layer& layer = stack_->layer(node.lower.slot);
  const LowerId id = node.lower.id;
  upper::CopyUp source;
  VARVE_ASSIGN(source.attributes, layer.attributes(id));
  VARVE_ASSIGN(const std::vector<std::string> names, layer.xattr_names(id));
  for (const std::string& name : names) {
    // A truncation takes file capabilities away.
    if (as.content == Content::kEmpty && name == "security.capability") continue;
    VARVE_ASSIGN(std::string value, layer.xattr(id, name));
    source.xattrs.emplace_back(name, std::move(value));
  }
  // With an access control list the two depend on each other.
  if (as.permissions && source.xattrs.empty()) source.attributes.mode = node.type() | *as.permissions;
  VARVE_ASSIGN(const std::uint64_t number, layer.inode_number(id));
  source.origin = upper::Origin{node.lower.slot, number};
  source.indexed = !node.is_directory() && source.attributes.nlink > 1;
  if (node.type() == S_IFLNK) {
    VARVE_ASSIGN(source.symlink_target, layer.read_link(id));
  }
  if (!node.is_regular()) return source;
  if (as.content == Content::kEmpty || source.attributes.size_bytes == 0) {
    source.attributes.size_bytes = 0;
    return source;
  }
  std::string path;
  if (!layer.find_by_number(number).ok()) {
    VARVE_ASSIGN(path, layer.path_of(id));
  }
  source.base = upper::Base{node.lower.slot, std::move(path), number, source.attributes.size_bytes};
  return source;
}

Result<std::unique_ptr<layer::LowerFile>> UnionView::open_base(const upper::Base& base) const {
  if (!stack_->has_slot(base.slot)) return Errno{EIO};
  const layer::Layer& layer = stack_->layer(base.slot);
  LowerId id;
  if (base.path.empty()) {
    const Result<LowerId> found = layer.find_by_number(base.inode_number);
    if (!found.ok()) return Errno{EIO};
    id = *found;
  } else {
    VARVE_ASSIGN(const std::optional<LowerRef> found, stack_->find_in_layer(base.slot, base.path));
    if (!found) return Errno{EIO};
    id = found->id;
  }
  VARVE_ASSIGN(const std::uint64_t number, layer.inode_number(id));
  VARVE_ASSIGN(std::unique_ptr<layer::LowerFile> file, layer.open_file(id));
  // Another file lies under the path now: reading on would mix two files.
  if (number != base.inode_number || file->size_bytes() != base.size_bytes) return Errno{EIO};
  return file;
}

Status UnionView::name_in_upper(Node& node, const NodePtr& parent, Name name) {
  const MutexLock lock(node.mutex);
  return name_in_upper_locked(node, parent, name);
}

Status UnionView::name_in_upper_locked(Node& node, const NodePtr& parent, Name name) {
  for (Alias& alias : node.aliases) {
    if (alias.parent != parent || alias.name != name.view()) continue;
    if (alias.in_upper) return {};
    VARVE_ASSIGN(const Place existing, place_locked(node));
    VARVE_ASSIGN(const Place where, place_in(*parent, name));
    // The name is counted by the upper's own link count from now on.
    VARVE_RETURN_IF_ERROR(store_->link_lower_name(existing.ref(), where.ref()));
    --node.upper().marks.nlink_delta;
    alias.in_upper = true;
    return {};
  }
  return Errno{ESTALE};
}

}  // namespace varve::view
