#include "fs/view/lower_stack.h"

#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "fs/base/check.h"

namespace varve::view {
namespace {

// Splits "/a/b" into its components. EIO for a component that is no legal name: only damaged marks hold one.
Result<std::vector<Name>> components(std::string_view path) {
  std::vector<Name> names;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
    if (part.empty()) continue;
    Result<Name> name = Name::parse(part);
    if (!name.ok()) return Errno{EIO};
    names.push_back(*name);
  }
  return names;
}

std::uint64_t hash_of(std::string_view name) {
  return XXH3_64bits(name.data(), name.size());
}

}  // namespace

LowerStack::LowerStack(std::vector<std::shared_ptr<layer::Layer>> layers) : layers_(std::move(layers)) {
  VARVE_CHECK(layers_.size() <= std::numeric_limits<std::uint16_t>::max());
  std::reverse(layers_.begin(), layers_.end());
  if (layers_.empty()) return;
  std::vector<LowerRef> sources;
  for (std::size_t i = layers_.size(); i > 0; --i) {
    sources.push_back(LowerRef{LayerSlot(static_cast<std::uint16_t>(i)), layers_[i - 1]->root()});
    const Result<layer::DirectoryMark> mark = layers_[i - 1]->directory_mark(layers_[i - 1]->root());
    if (mark.ok() && mark->opaque) break;
  }
  root_ = std::make_shared<const MergedDirectory>(std::move(sources));
}

LowerStack::~LowerStack() = default;

const layer::Layer& LowerStack::layer(LayerSlot slot) const {
  VARVE_CHECK(has_slot(slot));
  return *layers_[slot.value() - 1];
}

std::vector<std::string> LowerStack::describe() const {
  std::vector<std::string> lines;
  for (const auto& one : layers_) {
    const layer::Identity& identity = one->identity();
    lines.push_back((identity.kind == layer::Identity::Kind::kLayerFile ? "layer " : "directory ") +
                    identity.value);
  }
  return lines;
}

Status LowerStack::collect_sources(LowerRef object, Name name, const std::vector<LowerRef>& parent_sources,
                                   std::size_t next_source, std::vector<LowerRef>& sources) const {
  sources.push_back(object);
  VARVE_ASSIGN(const layer::DirectoryMark mark, layer(object.slot).directory_mark(object.id));
  if (mark.redirect) {
    VARVE_ASSIGN(const std::vector<LowerRef> rest, sources_below(object.slot, *mark.redirect));
    sources.insert(sources.end(), rest.begin(), rest.end());
    return {};
  }
  if (mark.opaque) return {};
  for (std::size_t i = next_source; i < parent_sources.size(); ++i) {
    const LowerRef& parent = parent_sources[i];
    VARVE_ASSIGN(const layer::Entry entry, layer(parent.slot).look_up(parent.id, name));
    if (entry.kind == layer::Entry::Kind::kAbsent) continue;
    if (entry.kind == layer::Entry::Kind::kWhiteout || entry.type != S_IFDIR) return {};
    return collect_sources(LowerRef{parent.slot, entry.id}, name, parent_sources, i + 1, sources);
  }
  return {};
}

Result<std::optional<LowerObject>> LowerStack::make_object(LowerRef top, std::uint32_t type, Name name,
                                                           const std::vector<LowerRef>& parent_sources,
                                                           std::size_t next_source) const {
  LowerObject object{top, type, nullptr};
  if (type == S_IFDIR) {
    std::vector<LowerRef> sources;
    VARVE_RETURN_IF_ERROR(collect_sources(top, name, parent_sources, next_source, sources));
    object.directory = std::make_shared<const MergedDirectory>(std::move(sources));
  }
  return std::optional<LowerObject>(std::move(object));
}

Result<std::optional<LowerObject>> LowerStack::look_up_in_sources(const std::vector<LowerRef>& sources,
                                                                  std::size_t first, Name name) const {
  for (std::size_t i = first; i < sources.size(); ++i) {
    VARVE_ASSIGN(const layer::Entry entry, layer(sources[i].slot).look_up(sources[i].id, name));
    if (entry.kind == layer::Entry::Kind::kAbsent) continue;
    if (entry.kind == layer::Entry::Kind::kWhiteout) break;
    return make_object(LowerRef{sources[i].slot, entry.id}, entry.type, name, sources, i + 1);
  }
  return std::optional<LowerObject>();
}

Result<std::optional<LowerObject>> LowerStack::look_up(const MergedDirectoryPtr& directory, Name name) const {
  if (directory == nullptr) return std::optional<LowerObject>();
  if (directory->sources_.size() == 1) return look_up_in_sources(directory->sources_, 0, name);
  VARVE_ASSIGN(const MergedDirectory::Index* index, directory->index(*this));
  const MergedDirectory::IndexEntry* entry = MergedDirectory::find(*index, name.view());
  if (entry == nullptr) return std::optional<LowerObject>();
  const LowerRef top{directory->sources_[entry->source].slot, entry->id};
  return make_object(top, entry->type, name, directory->sources_, entry->source + 1);
}

Result<std::vector<LowerRef>> LowerStack::sources_below(LayerSlot limit, std::string_view path) const {
  std::vector<LowerRef> sources;
  for (const LowerRef& source : root_->sources_) {
    if (source.slot < limit) sources.push_back(source);
  }
  VARVE_ASSIGN(const std::vector<Name> names, components(path));
  for (const Name& name : names) {
    VARVE_ASSIGN(const std::optional<LowerObject> next, look_up_in_sources(sources, 0, name));
    if (!next || next->directory == nullptr) return std::vector<LowerRef>();
    sources = next->directory->sources_;
  }
  return sources;
}

Result<MergedDirectoryPtr> LowerStack::directory_at(std::string_view path) const {
  MergedDirectoryPtr at = root_;
  VARVE_ASSIGN(const std::vector<Name> names, components(path));
  for (const Name& name : names) {
    VARVE_ASSIGN(const std::optional<LowerObject> next, look_up(at, name));
    if (!next) return MergedDirectoryPtr();
    at = next->directory;
    if (at == nullptr) return MergedDirectoryPtr();
  }
  return at;
}

Result<std::optional<LowerRef>> LowerStack::find_in_layer(LayerSlot slot, std::string_view path) const {
  LowerRef at{slot, layer(slot).root()};
  VARVE_ASSIGN(const std::vector<Name> names, components(path));
  for (const Name& name : names) {
    VARVE_ASSIGN(const layer::Entry entry, layer(slot).look_up(at.id, name));
    if (entry.kind != layer::Entry::Kind::kObject) return std::optional<LowerRef>();
    at.id = entry.id;
  }
  return std::optional<LowerRef>(at);
}

Status LowerStack::for_each(const MergedDirectoryPtr& directory, const Visitor& visit) const {
  if (directory == nullptr) return {};
  if (directory->sources_.size() == 1) {
    const LowerRef source = directory->sources_.front();
    return layer(source.slot)
        .for_each_entry(source.id, [&](std::string_view name, const layer::Entry& entry) {
          if (entry.kind != layer::Entry::Kind::kObject) return true;
          return visit(name, LowerRef{source.slot, entry.id}, entry.type);
        });
  }
  VARVE_ASSIGN(const MergedDirectory::Index* index, directory->index(*this));
  for (const MergedDirectory::IndexEntry& entry : index->entries) {
    const LowerRef top{directory->sources_[entry.source].slot, entry.id};
    if (!visit(index->name_of(entry), top, entry.type)) break;
  }
  return {};
}

Result<std::optional<std::uint32_t>> LowerStack::known_subdirectories(
    const MergedDirectoryPtr& directory) const {
  if (directory == nullptr) return std::optional(std::uint32_t{0});
  if (directory->sources_.size() != 1) return std::optional<std::uint32_t>();
  const LowerRef source = directory->sources_.front();
  return layer(source.slot).subdirectories(source.id);
}

Result<std::uint64_t> LowerStack::inode_number(LowerRef object) const {
  VARVE_ASSIGN(const std::uint64_t number, layer(object.slot).inode_number(object.id));
  return make_inode_number(object.slot, number);
}

Result<const MergedDirectory::Index*> MergedDirectory::index(const LowerStack& stack) const {
  if (const Index* ready = ready_.load(std::memory_order_acquire)) return ready;
  // Held while the layers' directories are read: a second asker would only do the same work again.
  const MutexLock lock(mutex_);
  if (index_ == nullptr) {
    VARVE_ASSIGN(index_, build_index(stack));
    ready_.store(index_.get(), std::memory_order_release);
  }
  return static_cast<const Index*>(index_.get());
}

Result<std::unique_ptr<MergedDirectory::Index>> MergedDirectory::build_index(const LowerStack& stack) const {
  auto index = std::make_unique<Index>();
  bool too_large = false;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const auto add = [&](std::string_view name, const layer::Entry& entry) {
      if (index->names.size() + name.size() > std::numeric_limits<std::uint32_t>::max()) too_large = true;
      if (too_large) return false;
      index->entries.push_back(IndexEntry{.hash = hash_of(name),
                                          .name_offset = static_cast<std::uint32_t>(index->names.size()),
                                          .name_size = static_cast<std::uint8_t>(name.size()),
                                          .whiteout = entry.kind == layer::Entry::Kind::kWhiteout,
                                          .type = entry.type,
                                          .source = static_cast<std::uint32_t>(i),
                                          .id = entry.id});
      index->names.append(name);
      return true;
    };
    VARVE_RETURN_IF_ERROR(stack.layer(sources_[i].slot).for_each_entry(sources_[i].id, add));
  }
  if (too_large) return Errno{EOVERFLOW};
  const auto same_name = [&](const IndexEntry& a, const IndexEntry& b) {
    return a.hash == b.hash && index->name_of(a) == index->name_of(b);
  };
  std::sort(index->entries.begin(), index->entries.end(), [&](const IndexEntry& a, const IndexEntry& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    const int order = index->name_of(a).compare(index->name_of(b));
    return order != 0 ? order < 0 : a.source < b.source;
  });
  // Of equal names the first, from the topmost layer, stays; then the whiteouts go.
  index->entries.erase(std::unique(index->entries.begin(), index->entries.end(), same_name),
                       index->entries.end());
  std::erase_if(index->entries, [](const IndexEntry& entry) { return entry.whiteout; });
  index->entries.shrink_to_fit();
  return index;
}

const MergedDirectory::IndexEntry* MergedDirectory::find(const Index& index, std::string_view name) {
  const std::uint64_t hash = hash_of(name);
  const auto at = std::lower_bound(index.entries.begin(), index.entries.end(), name,
                                   [&](const IndexEntry& entry, std::string_view wanted) {
                                     if (entry.hash != hash) return entry.hash < hash;
                                     return index.name_of(entry) < wanted;
                                   });
  if (at != index.entries.end() && at->hash == hash && index.name_of(*at) == name) return &*at;
  return nullptr;
}

}  // namespace varve::view
