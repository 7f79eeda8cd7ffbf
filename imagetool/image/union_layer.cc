#include "imagetool/image/union_layer.h"

#include <sys/stat.h>

#include <set>

#include "fs/base/check.h"

namespace varve::image {
namespace {

// An object that is no directory: the index of its layer above, its id there below.
constexpr unsigned kLayerShift = 40;

Errno errno_of(const Failure& failure) {
  return Errno{failure.error_number};
}

}  // namespace

ResultOrFailure<std::unique_ptr<UnionLayer>> UnionLayer::make(
    std::vector<std::shared_ptr<layer::Layer>> layers, Shows shows) {
  VARVE_CHECK(!layers.empty());
  LayerUnion all(std::move(layers));
  Directory root;
  std::unique_ptr<const OutsideNames> outside;
  if (shows == Shows::kAll) {
    root.whole = true;
    VARVE_ASSIGN(root.merged, all.root());
  } else {
    const layer::Layer& top = *all.layers().front();
    root.merged.sources = {{0, top.root()}};
    const Result<layer::DirectoryMark> mark = top.directory_mark(top.root());
    if (!mark.ok()) return failure_from(mark.error(), top.name());
    root.opaque = mark->opaque;
    VARVE_ASSIGN(OutsideNames names, outside_names(all));
    if (!names.empty()) outside = std::make_unique<const OutsideNames>(std::move(names));
  }
  return std::unique_ptr<UnionLayer>(new UnionLayer(std::move(all), std::move(root), std::move(outside)));
}

UnionRef UnionLayer::object(LowerId id) const {
  if (id == kRoot) return {0, layers_.layers().front()->root()};
  if (is_directory(id)) return directory(id).merged.sources.front();
  return {static_cast<std::size_t>(id.value() >> kLayerShift),
          LowerId{id.value() & ((std::uint64_t{1} << kLayerShift) - 1)}};
}

const UnionLayer::Directory& UnionLayer::directory(LowerId id) const {
  VARVE_CHECK(is_directory(id));
  MutexLock lock(mutex_);
  return directories_[id.value() & ~kRoot.value()];
}

Result<LowerId> UnionLayer::enter(LowerId parent_id, const Directory& parent, std::string_view name) const {
  const std::pair key(parent_id.value(), std::string(name));
  {
    MutexLock lock(mutex_);
    if (const auto known = entered_.find(key); known != entered_.end()) return known->second;
  }
  Directory entered;
  if (parent.outside != nullptr) {
    const auto below = parent.outside->directories.find(name);
    if (below != parent.outside->directories.end()) entered.outside = &below->second;
  }
  if (!parent.bridge) {
    auto merged = layers_.enter(parent.merged, name);
    if (!merged.ok()) return errno_of(merged.error());
    entered.merged = std::move(merged).value();
  }
  if (entered.merged.sources.empty()) {
    VARVE_CHECK(entered.outside != nullptr);
    entered.merged.sources = {entered.outside->directory};
    entered.bridge = true;
  } else {
    entered.whole = parent.whole;
    if (!parent.whole) {
      const UnionRef& top = entered.merged.sources.front();
      VARVE_ASSIGN(const layer::DirectoryMark mark, layers_.layer(top).directory_mark(top.id));
      entered.whole = mark.redirect.has_value();
      entered.opaque = mark.opaque || entered.whole;
    }
  }
  MutexLock lock(mutex_);
  const LowerId id{kRoot.value() | directories_.size()};
  const auto [known, fresh] = entered_.emplace(key, id);
  if (fresh) directories_.push_back(std::move(entered));
  return known->second;
}

Result<layer::Entry> UnionLayer::entry(LowerId parent_id, const Directory& parent, std::string_view name,
                                       const UnionEntry& found) const {
  using Kind = layer::Entry::Kind;
  if (!found.is_object()) return layer::Entry{parent.whole ? Kind::kAbsent : found.kind, {}, 0};
  if (found.type == S_IFDIR) {
    VARVE_ASSIGN(const LowerId id, enter(parent_id, parent, name));
    return layer::Entry{Kind::kObject, id, found.type};
  }
  return file_entry(found);
}

layer::Entry UnionLayer::file_entry(const UnionEntry& found) {
  const std::uint64_t id = found.object.id.value();
  VARVE_CHECK(id >> kLayerShift == 0);
  return layer::Entry{layer::Entry::Kind::kObject,
                      LowerId{std::uint64_t{found.object.layer} << kLayerShift | id}, found.type};
}

Result<layer::Entry> UnionLayer::outside_entry(LowerId parent_id, const Directory& parent,
                                               std::string_view name) const {
  if (parent.outside == nullptr) return layer::Entry{};
  if (const auto file = parent.outside->names.find(name); file != parent.outside->names.end())
    return file_entry(file->second);
  if (parent.outside->directories.find(name) == parent.outside->directories.end()) return layer::Entry{};
  VARVE_ASSIGN(const LowerId id, enter(parent_id, parent, name));
  return layer::Entry{layer::Entry::Kind::kObject, id, S_IFDIR};
}

Result<layer::Entry> UnionLayer::look_up(LowerId directory_id, Name name) const {
  const Directory& parent = directory(directory_id);
  if (!parent.bridge) {
    const auto found = layers_.look_up(parent.merged, name.view());
    if (!found.ok()) return errno_of(found.error());
    if (found->kind != layer::Entry::Kind::kAbsent) return entry(directory_id, parent, name.view(), *found);
  }
  return outside_entry(directory_id, parent, name.view());
}

Result<layer::DirectoryMark> UnionLayer::directory_mark(LowerId directory_id) const {
  return layer::DirectoryMark{directory(directory_id).opaque, std::nullopt};
}

Status UnionLayer::for_each_entry(LowerId directory_id, const layer::EntryVisitor& visit) const {
  const Directory& parent = directory(directory_id);
  std::set<std::string, std::less<>> known;
  if (!parent.bridge) {
    const auto entries = layers_.entries(parent.merged);
    if (!entries.ok()) return errno_of(entries.error());
    for (const auto& [name, found] : *entries) {
      VARVE_ASSIGN(const layer::Entry one, entry(directory_id, parent, name, found));
      if (one.kind != layer::Entry::Kind::kAbsent && !visit(name, one)) return {};
      if (parent.outside != nullptr) known.insert(name);
    }
  }
  if (parent.outside == nullptr) return {};
  std::vector<std::string> more;
  for (const auto& [name, file] : parent.outside->names) more.push_back(name);
  for (const auto& [name, below] : parent.outside->directories) more.push_back(name);
  for (const std::string& name : more) {
    if (known.contains(name)) continue;
    VARVE_ASSIGN(const layer::Entry one, outside_entry(directory_id, parent, name));
    if (!visit(name, one)) return {};
  }
  return {};
}

Result<Attributes> UnionLayer::attributes(LowerId id) const {
  return layer_of(id).attributes(object(id).id);
}

Result<std::uint64_t> UnionLayer::inode_number(LowerId id) const {
  const UnionRef at = object(id);
  VARVE_ASSIGN(const std::uint64_t number, layers_.layer(at).inode_number(at.id));
  MutexLock lock(mutex_);
  return numbers_.emplace(std::pair(at.layer, number), numbers_.size() + 1).first->second;
}

Result<std::string> UnionLayer::path_of(LowerId id) const {
  return layer_of(id).path_of(object(id).id);
}

Result<std::string> UnionLayer::read_link(LowerId id) const {
  return layer_of(id).read_link(object(id).id);
}

Result<std::vector<std::string>> UnionLayer::xattr_names(LowerId id) const {
  return layer_of(id).xattr_names(object(id).id);
}

Result<std::string> UnionLayer::xattr(LowerId id, std::string_view name) const {
  return layer_of(id).xattr(object(id).id, name);
}

Result<std::unique_ptr<layer::LowerFile>> UnionLayer::open_file(LowerId id) const {
  return layer_of(id).open_file(object(id).id);
}

}  // namespace varve::image
