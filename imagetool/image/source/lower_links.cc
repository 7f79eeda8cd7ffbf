#include "imagetool/image/source/lower_links.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <string>

#include "imagetool/image/layer_walk.h"

namespace varve::image {
namespace {

constexpr unsigned kMaxDepth = 2000;

// A directory or file of one layer; `layer` is an index, bottom 0.
struct LowerRef {
  std::size_t layer = 0;
  LowerId id;
  std::uint32_t type = 0;
};
using Sources = std::vector<LowerRef>;  // directories that merge, top first

class LinkSearch {
 public:
  LinkSearch(Tree& tree, const std::vector<std::shared_ptr<layer::Layer>>& layers, const LowerLinks& wanted,
             Monitor& monitor)
      : tree_(tree), layers_(layers), wanted_(wanted), monitor_(monitor) {}

  StatusOrFailure run() {
    if (tree_.node(kTreeRoot).spec.opaque) return {};
    VARVE_ASSIGN(Sources sources, roots_below(layers_.size()));
    Place root{kTreeRoot, "", std::move(sources), nullptr, 0};
    return visit(root);
  }

 private:
  // A directory of the union.
  struct Place {
    std::optional<TreeIndex> node;  // of the tree, unless only layers have it
    std::string path;
    Sources sources;
    Place* parent = nullptr;
    unsigned depth = 0;
  };
  struct LowerName {
    bool hidden = false;  // a whiteout
    LowerRef object;
  };

  Failure at(std::size_t layer, std::string_view path, Errno error) const {
    return failure_from(error, layers_[layer]->name() + ": /" + std::string(path));
  }
  ResultOrFailure<Sources> roots_below(std::size_t limit) const;
  // Adds the directory and says whether layers below still merge with it.
  ResultOrFailure<bool> add_source(Sources& sources, LowerRef directory) const;
  ResultOrFailure<Sources> child_sources(const Sources& parents, std::string_view name) const;
  ResultOrFailure<Sources> sources_at(std::string_view path, std::size_t limit) const;
  ResultOrFailure<std::map<std::string, LowerName>> lower_names(const Place& place) const;
  StatusOrFailure visit(Place& place);
  StatusOrFailure visit_tree_directory(Place& place, const std::string& name, TreeIndex node);
  StatusOrFailure visit_lower(Place& place, const std::string& name, const LowerRef& object);
  ResultOrFailure<TreeIndex> tree_directory(Place& place);

  Tree& tree_;
  const std::vector<std::shared_ptr<layer::Layer>>& layers_;
  const LowerLinks& wanted_;
  Monitor& monitor_;
};

ResultOrFailure<Sources> LinkSearch::roots_below(std::size_t limit) const {
  Sources sources;
  for (std::size_t layer = limit; layer-- > 0;) {
    VARVE_ASSIGN(const bool goes_on, add_source(sources, {layer, layers_[layer]->root(), S_IFDIR}));
    if (!goes_on) break;
  }
  return sources;
}

ResultOrFailure<bool> LinkSearch::add_source(Sources& sources, LowerRef directory) const {
  sources.push_back(directory);
  const Result<layer::DirectoryMark> mark = layers_[directory.layer]->directory_mark(directory.id);
  if (!mark.ok()) return at(directory.layer, "", mark.error());
  if (mark->redirect) {
    VARVE_ASSIGN(const Sources rest, sources_at(*mark->redirect, directory.layer));
    sources.insert(sources.end(), rest.begin(), rest.end());
    return false;
  }
  return !mark->opaque;
}

ResultOrFailure<Sources> LinkSearch::child_sources(const Sources& parents, std::string_view name) const {
  Sources sources;
  const Result<Name> valid = Name::parse(name);
  if (!valid.ok()) return sources;
  for (const LowerRef& parent : parents) {
    const Result<layer::Entry> entry = layers_[parent.layer]->look_up(parent.id, *valid);
    if (!entry.ok()) return at(parent.layer, name, entry.error());
    if (entry->kind == layer::Entry::Kind::kAbsent) continue;
    if (entry->kind == layer::Entry::Kind::kWhiteout || !S_ISDIR(entry->type)) break;
    VARVE_ASSIGN(const bool goes_on, add_source(sources, {parent.layer, entry->id, entry->type}));
    if (!goes_on) break;
  }
  return sources;
}

// The directory at `path` of the union of the layers below `limit`.
ResultOrFailure<Sources> LinkSearch::sources_at(std::string_view path, std::size_t limit) const {
  VARVE_ASSIGN(Sources sources, roots_below(limit));
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t slash = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, slash - begin);
    begin = slash + 1;
    if (part.empty()) continue;
    VARVE_ASSIGN(sources, child_sources(sources, part));
  }
  return sources;
}

ResultOrFailure<std::map<std::string, LinkSearch::LowerName>> LinkSearch::lower_names(
    const Place& place) const {
  std::map<std::string, LowerName> names;
  for (const LowerRef& source : place.sources) {
    const Status listed = layers_[source.layer]->for_each_entry(
        source.id, [&](std::string_view name, const layer::Entry& entry) {
          names.emplace(std::string(name), LowerName{entry.kind != layer::Entry::Kind::kObject,
                                                     LowerRef{source.layer, entry.id, entry.type}});
          return true;
        });
    if (!listed.ok()) return at(source.layer, place.path, listed.error());
  }
  return names;
}

StatusOrFailure LinkSearch::visit(Place& place) {
  if (monitor_.cancelled()) return cancelled_failure();
  if (place.depth > kMaxDepth) return Failure{ELOOP, "/" + place.path + ": more than 2000 directories deep"};
  VARVE_ASSIGN(const auto lower, lower_names(place));
  // Before anything is added; names of directories alone lead further.
  const Tree::Names own = place.node ? tree_.names(*place.node) : Tree::Names{};
  for (const auto [name, node] : own) {
    if (tree_.is_directory(node)) VARVE_RETURN_IF_ERROR(visit_tree_directory(place, std::string(name), node));
  }
  for (const auto& [name, one] : lower) {
    if (!one.hidden && !own.contains(name)) VARVE_RETURN_IF_ERROR(visit_lower(place, name, one.object));
  }
  return {};
}

StatusOrFailure LinkSearch::visit_tree_directory(Place& place, const std::string& name, TreeIndex node) {
  const InodeSpec spec = tree_.node(node).spec;
  Place child{node, join_path(place.path, name), {}, &place, place.depth + 1};
  if (spec.redirect) {
    VARVE_ASSIGN(child.sources, sources_at(*spec.redirect, layers_.size()));
  } else if (!spec.opaque) {
    VARVE_ASSIGN(child.sources, child_sources(place.sources, name));
  }
  return visit(child);  // also without sources: directories within may be redirected
}

StatusOrFailure LinkSearch::visit_lower(Place& place, const std::string& name, const LowerRef& object) {
  if (S_ISDIR(object.type)) {
    Place child{std::nullopt, join_path(place.path, name), {}, &place, place.depth + 1};
    VARVE_ASSIGN(child.sources, child_sources(place.sources, name));
    return visit(child);
  }
  const Result<std::uint64_t> number = layers_[object.layer]->inode_number(object.id);
  if (!number.ok()) return at(object.layer, join_path(place.path, name), number.error());
  const auto found = wanted_.find({static_cast<std::uint16_t>(object.layer + 1), *number});
  if (found == wanted_.end()) return {};
  VARVE_ASSIGN(const TreeIndex directory, tree_directory(place));
  tree_.set_name(directory, name, found->second);
  return {};
}

// The directory in the tree, made with the attributes that the union shows when only layers have it.
ResultOrFailure<TreeIndex> LinkSearch::tree_directory(Place& place) {
  if (place.node) return *place.node;
  VARVE_CHECK(place.parent != nullptr && !place.sources.empty());
  VARVE_ASSIGN(const TreeIndex parent, tree_directory(*place.parent));
  const LowerRef& top = place.sources.front();
  VARVE_ASSIGN(InodeSpec lower, read_object(*layers_[top.layer], top.id, place.path));
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
