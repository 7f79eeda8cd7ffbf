#include "imagetool/image/layer_union.h"

#include <sys/stat.h>

#include <algorithm>

namespace varve::image {

Failure LayerUnion::at(std::size_t layer, std::string_view name, Errno error) const {
  return failure_from(error, layers_[layer]->name() + ": " + std::string(name));
}

ResultOrFailure<UnionDirectory> LayerUnion::root_from(std::size_t first) const {
  UnionDirectory root;
  // From the top, since an opaque root hides what lies below it from redirects too.
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (i >= first) root.sources.push_back({i, layers_[i]->root()});
    const Result<layer::DirectoryMark> mark = layers_[i]->directory_mark(layers_[i]->root());
    if (!mark.ok()) return at(i, "/", mark.error());
    if (mark->opaque) return root;
  }
  root.below = "";
  return root;
}

ResultOrFailure<UnionEntry> LayerUnion::look_up(const UnionDirectory& directory,
                                                std::string_view name) const {
  const Result<Name> valid = Name::parse(name);
  if (!valid.ok()) return UnionEntry{};
  for (const UnionRef& source : directory.sources) {
    const Result<layer::Entry> entry = layer(source).look_up(source.id, *valid);
    if (!entry.ok()) return at(source.layer, name, entry.error());
    if (entry->kind == layer::Entry::Kind::kAbsent) continue;
    return UnionEntry{entry->kind, {source.layer, entry->id}, entry->type};
  }
  return UnionEntry{};
}

ResultOrFailure<UnionDirectory> LayerUnion::enter(const UnionDirectory& directory,
                                                  std::string_view name) const {
  UnionDirectory entered;
  const Result<Name> valid = Name::parse(name);
  if (!valid.ok()) return entered;
  for (const UnionRef& source : directory.sources) {
    const Result<layer::Entry> entry = layer(source).look_up(source.id, *valid);
    if (!entry.ok()) return at(source.layer, name, entry.error());
    if (entry->kind == layer::Entry::Kind::kAbsent) continue;
    if (entry->kind == layer::Entry::Kind::kWhiteout || entry->type != S_IFDIR) return entered;
    entered.sources.push_back({source.layer, entry->id});
    const Result<layer::DirectoryMark> mark = layer(source).directory_mark(entry->id);
    if (!mark.ok()) return at(source.layer, name, mark.error());
    if (mark->redirect) {
      VARVE_ASSIGN(UnionDirectory rest, path_from(source.layer + 1, *mark->redirect));
      entered.sources.insert(entered.sources.end(), rest.sources.begin(), rest.sources.end());
      entered.below = std::move(rest.below);
      return entered;
    }
    if (mark->opaque) return entered;
  }
  if (directory.below) entered.below = *directory.below + "/" + std::string(name);
  return entered;
}

ResultOrFailure<UnionDirectory> LayerUnion::path_from(std::size_t first, std::string_view path) const {
  VARVE_ASSIGN(UnionDirectory directory, root_from(first));
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty()) continue;
    VARVE_ASSIGN(directory, enter(directory, name));
  }
  return directory;
}

ResultOrFailure<std::vector<LayerUnion::NamedEntry>> LayerUnion::entries(
    const UnionDirectory& directory) const {
  std::vector<NamedEntry> entries;
  for (const UnionRef& source : directory.sources) {
    const Status listed = layer(source).for_each_entry(source.id, [&](std::string_view name,
                                                                      const layer::Entry& entry) {
      entries.push_back({std::string(name), UnionEntry{entry.kind, {source.layer, entry.id}, entry.type}});
      return true;
    });
    if (!listed.ok()) return at(source.layer, "", listed.error());
  }
  // Of equal names the topmost layer's, which came first, stays.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const NamedEntry& a, const NamedEntry& b) { return a.name < b.name; });
  const auto same_name = [](const NamedEntry& a, const NamedEntry& b) { return a.name == b.name; };
  entries.erase(std::unique(entries.begin(), entries.end(), same_name), entries.end());
  return entries;
}

}  // namespace varve::image
