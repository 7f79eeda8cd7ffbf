// What an archive that is a layer leaves to the layers below it.

#include <sys/stat.h>

#include "imagetool/image/layer_walk.h"
#include "imagetool/image/source/tar_scan.h"
#include "imagetool/image/source/union_marks.h"

namespace varve::image {
namespace {

// The directory of the layers below that has the place of the tree's `node`, called `name`; without sources: none.
ResultOrFailure<UnionDirectory> enter(const LayerUnion& below, const UnionDirectory& from,
                                      const InodeSpec& node, std::string_view name) {
  if (node.redirect) return below.enter_path(*node.redirect);
  return from.sources.empty() ? UnionDirectory{} : below.enter(from, name);
}

}  // namespace

ResultOrFailure<std::optional<UnionRef>> TarScan::find_below(const Components& components) const {
  const std::optional<UnionRef> none;
  UnionDirectory directory;
  if (!tree_.node(kTreeRoot).spec.opaque) {
    VARVE_ASSIGN(directory, below_->root());
  }
  TreeIndex here = kTreeRoot;  // the same directory in the archive,
  bool is_in_archive = true;   // while it has it
  for (std::size_t i = 0; i < components.size(); ++i) {
    const TreeIndex* node = is_in_archive ? tree_.find(here, components[i]) : nullptr;
    if (i + 1 == components.size()) {
      if (node != nullptr || directory.sources.empty()) return none;
      VARVE_ASSIGN(const UnionEntry found, below_->look_up(directory, components[i]));
      return found.is_object() && !S_ISDIR(found.type) ? std::optional(found.object) : none;
    }
    if (node == nullptr) {
      is_in_archive = false;
      if (directory.sources.empty()) return none;
      VARVE_ASSIGN(directory, below_->enter(directory, components[i]));
      continue;
    }
    if (!tree_.is_directory(*node)) return none;
    here = *node;
    const InodeSpec spec = tree_.node(*node).spec;
    if (spec.opaque) return none;
    VARVE_ASSIGN(directory, enter(*below_, directory, spec, components[i]));
  }
  return none;
}

ResultOrFailure<TreeIndex> TarScan::copy_up(const Components& components, std::string_view link) {
  VARVE_ASSIGN(const std::optional<UnionRef> found, find_below(components));
  if (!found) return kWhiteoutNode;
  std::string path;
  for (const std::string_view component : components) path = join_path(path, component);
  const layer::Layer& layer = below_->layer(*found);
  VARVE_ASSIGN(InodeSpec spec, read_object(layer, found->id, layer.name() + ": /" + path));
  VARVE_ASSIGN(const Place place, find_place(path));
  if (place.leftover) return refuse(link, "a hard link to bookkeeping of AUFS");
  const TreeIndex node = tree_.add(std::move(spec));
  if (!place.excluded) put_object(tree_, place.directory, place.name, node);
  copied_up_.emplace(node, *found);
  return node;
}

StatusOrFailure TarScan::inherit_directories() {
  if (below_ == nullptr || implied_.empty()) return {};
  std::unordered_map<TreeIndex, UnionDirectory> directories;  // of those that merge with some below
  std::vector<std::pair<TreeIndex, InodeSpec>> inherited;
  VARVE_RETURN_IF_ERROR(tree_.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (!tree_.is_directory(visit.node)) return {};
    const InodeSpec before = tree_.node(visit.node).spec;
    UnionDirectory from;
    if (visit.node == kTreeRoot) {
      VARVE_ASSIGN(from, below_->root());
    } else {
      const auto within = directories.find(visit.directory);
      VARVE_ASSIGN(from, enter(*below_, within == directories.end() ? UnionDirectory{} : within->second,
                               before, visit.name));
    }
    if (from.sources.empty()) return {};
    if (implied_.contains(visit.node)) {
      const UnionRef& top = from.sources.front();
      VARVE_ASSIGN(InodeSpec spec, read_object(below_->layer(top), top.id, visit.path));
      spec.opaque = before.opaque;
      spec.redirect = before.redirect;
      inherited.emplace_back(visit.node, std::move(spec));
    }
    // One that is opaque is the same directory, but has nothing of the other's names.
    if (!before.opaque) directories.emplace(visit.node, std::move(from));
    return {};
  }));
  for (auto& [node, spec] : inherited) tree_.set_spec(node, std::move(spec));
  return {};
}

}  // namespace varve::image
