// Nodes and the upper objects behind them: how an upper object is reached, and what stat(2) tells of a node.

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "fs/view/union_view.h"

namespace varve::view {

Result<NodePtr> UnionView::node(NodeId id) const {
  NodePtr found = table_.find(id);
  if (found == nullptr) return Errno{ESTALE};
  return found;
}

Result<NodePtr> UnionView::directory_node(NodeId id) const {
  VARVE_ASSIGN(NodePtr found, node(id));
  if (!found->is_directory()) return Errno{ENOTDIR};
  return found;
}

Result<std::shared_ptr<const UniqueFd>> UnionView::directory_fd(Node& directory) {
  const MutexLock lock(directory.mutex);
  if (directory.upper().pinned != nullptr) return directory.upper().pinned;
  if (std::shared_ptr<const UniqueFd> open = directory.upper().directory_fd.lock()) return open;
  VARVE_ASSIGN(const Place place, place_locked(directory));
  VARVE_ASSIGN(UniqueFd fd, store_->open_path(place.ref()));
  auto shared = std::make_shared<const UniqueFd>(std::move(fd));
  directory.upper().directory_fd = shared;
  directory_fds_.keep(shared);
  return shared;
}

Result<UnionView::Place> UnionView::place_locked(Node& node) {
  if (node.upper().pinned != nullptr) return Place{node.upper().pinned, ""};
  for (const Alias& alias : node.aliases) {
    if (!alias.in_upper) continue;
    VARVE_ASSIGN(std::shared_ptr<const UniqueFd> parent, directory_fd(*alias.parent));
    return Place{std::move(parent), alias.name};
  }
  return Errno{ESTALE};
}

Result<UnionView::Place> UnionView::place_of(Node& node) {
  const MutexLock lock(node.mutex);
  return place_locked(node);
}

Result<UnionView::Place> UnionView::place_in(Node& parent, Name name) {
  VARVE_ASSIGN(std::shared_ptr<const UniqueFd> directory, directory_fd(parent));
  return Place{std::move(directory), name.str()};
}

Result<Attributes> UnionView::stored_attributes_locked(Node& node) {
  VARVE_ASSIGN(const Place place, place_locked(node));
  return store_->attributes(place.ref());
}

Result<Attributes> UnionView::upper_attributes_locked(Node& node) {
  VARVE_ASSIGN(const Attributes stored, stored_attributes_locked(node));
  return union_attributes_locked(node, stored);
}

Result<Attributes> UnionView::union_attributes_locked(Node& node, Attributes attributes) {
  if (node.is_directory()) {
    if (node.directory().lower != nullptr) {
      VARVE_ASSIGN(const Place place, place_locked(node));
      VARVE_ASSIGN(attributes.nlink, merged_link_count_locked(node, place));
    }
    return attributes;
  }
  const std::int64_t nlink = static_cast<std::int64_t>(attributes.nlink) + node.upper().marks.nlink_delta;
  attributes.nlink = nlink < 0 ? 0 : static_cast<std::uint32_t>(nlink);
  if (node.upper().marks.base) {
    VARVE_ASSIGN(attributes.blocks_512, partly_copied_blocks_512_locked(node, attributes));
  }
  return attributes;
}

Result<std::uint64_t> UnionView::partly_copied_blocks_512_locked(Node& node, const Attributes& stored) {
  const upper::Marks& marks = node.upper().marks;
  if (node.data == nullptr && node.upper().kept_data == nullptr) {
    if (!node.upper().untouched) {
      VARVE_ASSIGN(const bool untouched, upper::CowFile::is_untouched(*store_, marks));
      if (untouched) {
        VARVE_ASSIGN(const Place place, place_locked(node));
        VARVE_RETURN_IF_ERROR(renew_base_locked(node, place));
        if (!marks.base) return stored.blocks_512;
      }
      node.upper().untouched = untouched;
    }
    if (node.upper().untouched) {
      VARVE_ASSIGN(const std::unique_ptr<layer::LowerFile> base, open_base(*marks.base));
      return upper::CowFile::untouched_blocks_512(stored, *base);
    }
  }
  VARVE_ASSIGN(const OpenData::View open, view_locked(node));
  // Null: copied up, but its file could not be opened then.
  return open.upper != nullptr ? open.upper->blocks_512() : Result<std::uint64_t>(stored.blocks_512);
}

Result<std::uint32_t> UnionView::merged_link_count_locked(Node& directory, const Place& upper) const {
  if (!directory.directory().subdirectories) {
    VARVE_ASSIGN(directory.directory().subdirectories,
                 count_subdirectories(upper, directory.directory().lower));
  }
  return 2 + *directory.directory().subdirectories;
}

void UnionView::subdirectories_changed(Node& directory) {
  const MutexLock lock(directory.mutex);
  directory.directory().subdirectories.reset();
}

Result<std::uint32_t> UnionView::count_subdirectories(const Place& upper,
                                                      const MergedDirectoryPtr& lower) const {
  std::vector<upper::UpperStore::ListedEntry> listed;
  if (upper.directory != nullptr) {
    VARVE_ASSIGN(listed, store_->list(upper.ref()));
  }
  const auto own =
      static_cast<std::uint32_t>(std::count_if(listed.begin(), listed.end(), [](const auto& entry) {
        return !entry.whiteout && entry.type == DT_DIR;
      }));
  VARVE_ASSIGN(const std::optional<std::uint32_t> known, stack_->known_subdirectories(lower));
  if (!known) {
    VARVE_ASSIGN(const std::uint32_t below, count_visible_directories(listed, lower));
    return own + below;
  }
  std::uint32_t hidden = 0;
  for (const upper::UpperStore::ListedEntry& entry : listed) {
    if (hidden == *known) break;
    VARVE_ASSIGN(const Name name, Name::parse(entry.name));
    VARVE_ASSIGN(const std::optional<LowerObject> below, stack_->look_up(lower, name));
    if (below && below->type == S_IFDIR) ++hidden;
  }
  return own + *known - hidden;
}

Result<std::uint32_t> UnionView::count_visible_directories(
    const std::vector<upper::UpperStore::ListedEntry>& hiding, const MergedDirectoryPtr& lower) const {
  std::unordered_set<std::string_view> hidden;
  for (const upper::UpperStore::ListedEntry& entry : hiding) hidden.insert(entry.name);
  std::uint32_t count = 0;
  VARVE_RETURN_IF_ERROR(stack_->for_each(lower, [&](std::string_view name, LowerRef, std::uint32_t type) {
    if (type == S_IFDIR && !hidden.contains(name)) ++count;
    return true;
  }));
  return count;
}

Result<Attributes> UnionView::lower_attributes_locked(Node& node) {
  VARVE_CHECK(node.lower.slot != LayerSlot());
  VARVE_ASSIGN(Attributes attributes, stack_->layer(node.lower.slot).attributes(node.lower.id));
  if (node.is_directory() && node.directory().lower->sources().size() > 1) {
    VARVE_ASSIGN(attributes.nlink, merged_link_count_locked(node, Place{}));
  }
  // A lower-only file whose name was removed while somebody still refers to it.
  if (!node.is_directory() && node.aliases.empty()) attributes.nlink = 0;
  return attributes;
}

Result<Attributes> UnionView::attributes_locked(Node& node) {
  Result<Attributes> attributes =
      node.in_upper ? upper_attributes_locked(node) : lower_attributes_locked(node);
  if (attributes.ok() && node.is_directory() && node.directory().removed) attributes->nlink = 0;
  return attributes;
}

Result<Attributes> UnionView::settled_attributes_locked(Node& node) {
  settle_set_id_locked(node);
  return attributes_locked(node);
}

EntryReply UnionView::reply_locked(const Node& node, const Attributes& attributes) {
  const OpenData* data = node.data.get();
  const bool unseen =
      data != nullptr && ((data->backing() != nullptr && data->mappers > 0) || data->set_id_since);
  return EntryReply{node.id(), node.inode_number(), attributes, unseen};
}

EntryReply UnionView::changed_reply_locked(const Node& node, const Attributes& attributes) {
  EntryReply reply = reply_locked(node, attributes);
  reply.changes_unseen |= node.data != nullptr && node.data->mappers > 0;
  return reply;
}

Result<EntryReply> UnionView::reply_for(const NodePtr& node) {
  const MutexLock lock(node->mutex);
  VARVE_ASSIGN(const Attributes attributes, settled_attributes_locked(*node));
  return reply_locked(*node, attributes);
}

Result<EntryReply> UnionView::referenced_reply(const NodePtr& node, const Found& found) {
  {
    const MutexLock lock(node->mutex);
    // What was read with the name is as good as what would be read now: the kernel puts an answer aside when it has heard of a
    // later change meanwhile (docs/decisions/0026). Of stores past us it has not heard, and whoever made them may be gone by now.
    const bool as_found = node->in_upper && found.upper.kind == upper::UpperEntry::Kind::kObject &&
                          node->upper().inode == found.upper.inode_number && !node->passed_through;
    if (as_found) {
      VARVE_ASSIGN(const Attributes attributes, union_attributes_locked(*node, found.upper.attributes));
      table_.reference(node);
      return reply_locked(*node, attributes);
    }
  }
  return referenced_reply(node);
}

Result<EntryReply> UnionView::referenced_reply(const NodePtr& node) {
  VARVE_ASSIGN(EntryReply reply, reply_for(node));
  table_.reference(node);
  return reply;
}

}  // namespace varve::view
