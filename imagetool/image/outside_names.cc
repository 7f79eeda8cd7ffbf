#include "imagetool/image/outside_names.h"

#include <sys/stat.h>

#include <set>
#include <utility>

namespace varve::image {
namespace {

constexpr unsigned kMaxDepth = 2000;

class OutsideSearch {
 public:
  explicit OutsideSearch(const LayerUnion& layers) : layers_(layers) {}

  ResultOrFailure<OutsideNames> run() {
    OutsideNames found;
    VARVE_ASSIGN(const UnionDirectory root, layers_.root());
    found.directory = root.sources.front();
    VARVE_RETURN_IF_ERROR(count(root, false, 0));
    // Files that have all of their names in renamed directories stay one by themselves.
    std::erase_if(wanted_, [](const auto& one) { return one.second.names >= one.second.nlink; });
    if (!wanted_.empty()) VARVE_RETURN_IF_ERROR(find(root, found, 0));
    return found;
  }

 private:
  using Key = std::pair<std::size_t, std::uint64_t>;  // layer, id in it
  struct Links {
    std::uint64_t names = 0;  // in renamed directories
    std::uint64_t nlink = 0;  // in its layer
  };
  static Key key_of(const UnionRef& object) { return {object.layer, object.id.value()}; }
  static bool is_of_topmost(const UnionDirectory& directory) { return directory.sources.front().layer == 0; }

  // Whether the topmost layer has `directory`, and as a renamed one.
  ResultOrFailure<bool> is_renamed(const UnionDirectory& directory) const {
    if (!is_of_topmost(directory)) return false;
    const Result<layer::DirectoryMark> mark =
        layers_.layer(directory.sources.front()).directory_mark(directory.sources.front().id);
    if (!mark.ok()) return failure_from(mark.error(), layers_.layer(directory.sources.front()).name());
    return mark->redirect.has_value();
  }

  StatusOrFailure count(const UnionDirectory& directory, bool within_renamed, unsigned depth) {
    if (depth > kMaxDepth)
      return Failure{ELOOP, layers_.layers().front()->name() + ": more than 2000 directories deep"};
    VARVE_ASSIGN(const auto entries, layers_.entries(directory));
    for (const auto& [name, entry] : entries) {
      if (!entry.is_object()) continue;
      if (entry.type == S_IFDIR) {
        VARVE_ASSIGN(const UnionDirectory child, layers_.enter(directory, name));
        VARVE_ASSIGN(const bool renamed, is_renamed(child));
        // Below a directory that the topmost layer does not have, it has nothing.
        if (within_renamed || is_of_topmost(child))
          VARVE_RETURN_IF_ERROR(count(child, within_renamed || renamed, depth + 1));
        continue;
      }
      if (!within_renamed || entry.object.layer == 0) continue;
      const layer::Layer& layer = layers_.layer(entry.object);
      const Result<Attributes> attributes = layer.attributes(entry.object.id);
      if (!attributes.ok()) return failure_from(attributes.error(), layer.name() + ": " + name);
      if (attributes->nlink < 2) continue;
      Links& links = wanted_[key_of(entry.object)];
      ++links.names;
      links.nlink = attributes->nlink;
    }
    return {};
  }

  // Adds to `found` what lies in and below `directory`, which is no renamed one.
  StatusOrFailure find(const UnionDirectory& directory, OutsideNames& found, unsigned depth) {
    if (depth > kMaxDepth)
      return Failure{ELOOP, layers_.layers().front()->name() + ": more than 2000 directories deep"};
    VARVE_ASSIGN(const auto entries, layers_.entries(directory));
    for (const auto& [name, entry] : entries) {
      if (!entry.is_object()) continue;
      if (entry.type != S_IFDIR) {
        if (entry.object.layer != 0 && wanted_.contains(key_of(entry.object)))
          found.names.emplace(name, entry);
        continue;
      }
      VARVE_ASSIGN(const UnionDirectory child, layers_.enter(directory, name));
      VARVE_ASSIGN(const bool renamed, is_renamed(child));
      if (renamed) continue;
      OutsideNames below;
      below.directory = child.sources.front();
      VARVE_RETURN_IF_ERROR(find(child, below, depth + 1));
      if (!below.empty()) found.directories.emplace(name, std::move(below));
    }
    return {};
  }

  const LayerUnion& layers_;
  std::map<Key, Links> wanted_;
};

}  // namespace

ResultOrFailure<OutsideNames> outside_names(const LayerUnion& layers) {
  return OutsideSearch(layers).run();
}

}  // namespace varve::image
