#include "imagetool/image/source/lower_links.h"

#include <sys/stat.h>

#include <optional>
#include <string>

#include "imagetool/image/layer_union.h"
#include "imagetool/image/layer_walk.h"

namespace varve::image {
namespace {

constexpr unsigned kMaxDepth = 2000;

class LinkSearch {
 public:
  LinkSearch(Tree& tree, const std::vector<std::shared_ptr<layer::Layer>>& layers, const LowerLinks& wanted,
             Monitor& monitor)
      : tree_(tree), layers_({layers.rbegin(), layers.rend()}), wanted_(wanted), monitor_(monitor) {}

  StatusOrFailure run() {
    if (tree_.node(kTreeRoot).spec.opaque) return {};
    VARVE_ASSIGN(UnionDirectory lower, layers_.root());
    Place root{kTreeRoot, "", std::move(lower), nullptr, 0};
    return visit(root);
  }

 private:
  // A directory of the union.
  struct Place {
    std::optional<TreeIndex> node;  // of the tree, unless only layers have it
    std::string path;
    UnionDirectory lower;
    Place* parent = nullptr;
    unsigned depth = 0;
  };

  StatusOrFailure visit(Place& place);
  StatusOrFailure visit_tree_directory(Place& place, const std::string& name, TreeIndex node);
  StatusOrFailure visit_lower(Place& place, const std::string& name, const UnionEntry& entry);
  ResultOrFailure<TreeIndex> tree_directory(Place& place);

  Tree& tree_;
  const LayerUnion layers_;
  const LowerLinks& wanted_;
  Monitor& monitor_;
};

StatusOrFailure LinkSearch::visit(Place& place) {
  if (monitor_.cancelled()) return cancelled_failure();
  if (place.depth > kMaxDepth) return Failure{ELOOP, "/" + place.path + ": more than 2000 directories deep"};
  VARVE_ASSIGN(const std::vector<LayerUnion::NamedEntry> lower, layers_.entries(place.lower));
  // Before anything is added; names of directories alone lead further.
  const Tree::Names own = place.node ? tree_.names(*place.node) : Tree::Names{};
  for (const auto [name, node] : own) {
    if (tree_.is_directory(node)) VARVE_RETURN_IF_ERROR(visit_tree_directory(place, std::string(name), node));
  }
  for (const auto& [name, one] : lower) {
    if (one.is_object() && !own.contains(name)) VARVE_RETURN_IF_ERROR(visit_lower(place, name, one));
  }
  return {};
}

StatusOrFailure LinkSearch::visit_tree_directory(Place& place, const std::string& name, TreeIndex node) {
  const InodeSpec spec = tree_.node(node).spec;
  Place child{node, join_path(place.path, name), {}, &place, place.depth + 1};
  if (spec.redirect) {
    VARVE_ASSIGN(child.lower, layers_.enter_path(*spec.redirect));
  } else if (!spec.opaque) {
    VARVE_ASSIGN(child.lower, layers_.enter(place.lower, name));
  }
  return visit(child);  // also without sources: directories within may be redirected
}

StatusOrFailure LinkSearch::visit_lower(Place& place, const std::string& name, const UnionEntry& entry) {
  if (S_ISDIR(entry.type)) {
    Place child{std::nullopt, join_path(place.path, name), {}, &place, place.depth + 1};
    VARVE_ASSIGN(child.lower, layers_.enter(place.lower, name));
    return visit(child);
  }
  const layer::Layer& layer = layers_.layer(entry.object);
  const Result<std::uint64_t> number = layer.inode_number(entry.object.id);
  if (!number.ok()) return failure_from(number.error(), layer.name() + ": /" + join_path(place.path, name));
  const std::size_t slot = layers_.layers().size() - entry.object.layer;
  const auto found = wanted_.find({static_cast<std::uint16_t>(slot), *number});
  if (found == wanted_.end()) return {};
  VARVE_ASSIGN(const TreeIndex directory, tree_directory(place));
  tree_.set_name(directory, name, found->second);
  return {};
}

// The directory in the tree, made with the attributes that the union shows when only layers have it.
ResultOrFailure<TreeIndex> LinkSearch::tree_directory(Place& place) {
  if (place.node) return *place.node;
  VARVE_CHECK(place.parent != nullptr && !place.lower.sources.empty());
  VARVE_ASSIGN(const TreeIndex parent, tree_directory(*place.parent));
  const UnionRef& top = place.lower.sources.front();
  VARVE_ASSIGN(InodeSpec lower, read_object(layers_.layer(top), top.id, place.path));
  InodeSpec spec;  // its marks say what its own layer shows of those below, not what ours shows of it
  spec.attributes = lower.attributes;
  spec.xattrs = std::move(lower.xattrs);
  place.node = tree_.add(std::move(spec));
  tree_.set_name(parent, place.path.substr(place.path.rfind('/') + 1), *place.node);
  return *place.node;
}

}  // namespace

StatusOrFailure add_lower_links(Tree& tree, const std::vector<std::shared_ptr<layer::Layer>>& layers,
                                const LowerLinks& wanted, Monitor& monitor) {
  if (wanted.empty()) return {};
  return LinkSearch(tree, layers, wanted, monitor).run();
}

}  // namespace varve::image
