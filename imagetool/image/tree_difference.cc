#include "imagetool/image/tree_difference.h"

#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "imagetool/image/layer_walk.h"
#include "imagetool/image/parent_content.h"

namespace varve::image {
namespace {

bool is_device(const Attributes& attributes) {
  return S_ISCHR(attributes.mode) || S_ISBLK(attributes.mode);
}

bool same_metadata(InodeSpec a, InodeSpec b) {
  const Attributes& x = a.attributes;
  const Attributes& y = b.attributes;
  if (x.mode != y.mode || x.uid != y.uid || x.gid != y.gid || x.mtime != y.mtime) return false;
  if (x.is_regular() && x.size_bytes != y.size_bytes) return false;
  if (is_device(x) && x.rdev != y.rdev) return false;
  std::sort(a.xattrs.begin(), a.xattrs.end());
  std::sort(b.xattrs.begin(), b.xattrs.end());
  return a.symlink_target == b.symlink_target && a.xattrs == b.xattrs;
}

class Difference {
 public:
  Difference(Tree& tree, TreeSource& source, const LayerUnion& below, Monitor& monitor)
      : tree_(tree), source_(source), below_(below), monitor_(monitor), differs_(tree.node_count()) {}

  StatusOrFailure run() {
    VARVE_RETURN_IF_ERROR(match());
    VARVE_RETURN_IF_ERROR(settle_links());
    VARVE_RETURN_IF_ERROR(compare_contents());
    cut();
    return {};
  }

 private:
  struct Pair {
    TreeIndex directory = kTreeRoot;
    UnionDirectory below;  // without sources: nothing
    std::string path;
  };
  // What lies below at the first name of a node, as far as all of its names so far lead there.
  struct Match {
    UnionRef object;
    std::uint64_t number = 0;  // Layer::inode_number
    std::uint32_t names = 1;
  };

  // Walks both trees, directory by directory.
  StatusOrFailure match();
  StatusOrFailure match_directory(const Pair& pair, std::vector<Pair>& pending);
  ResultOrFailure<bool> same_as_below(TreeIndex node, const UnionRef& object, const std::string& path) const;
  StatusOrFailure match_name(TreeIndex node, const UnionEntry& entry, const std::string& path);
  // A file is as below only with all of its names.
  StatusOrFailure settle_links();
  StatusOrFailure compare_contents();
  void cut();
  void set_differs(TreeIndex node) {
    differs_[node] = true;
    matches_.erase(node);
  }

  Tree& tree_;
  TreeSource& source_;
  const LayerUnion& below_;
  Monitor& monitor_;
  std::vector<bool> differs_;                     // by TreeIndex
  std::unordered_map<TreeIndex, Match> matches_;  // of what is no directory
  std::vector<std::pair<TreeIndex, TreeIndex>>
      visited_;  // (directory, node), directories before what is in them
  std::vector<std::pair<TreeIndex, std::string>> gone_;  // (directory, name) that only the layers below have
};

StatusOrFailure Difference::match() {
  VARVE_ASSIGN(UnionDirectory root, below_.root());
  std::vector<Pair> pending;
  pending.push_back({kTreeRoot, std::move(root), ""});
  while (!pending.empty()) {
    const Pair pair = std::move(pending.back());
    pending.pop_back();
    if (monitor_.cancelled()) return cancelled_failure();
    VARVE_RETURN_IF_ERROR(match_directory(pair, pending));
  }
  return {};
}

StatusOrFailure Difference::match_directory(const Pair& pair, std::vector<Pair>& pending) {
  for (const auto [name, node] : tree_.names(pair.directory)) {
    if (node == kWhiteoutNode) continue;
    visited_.emplace_back(pair.directory, node);
    std::string path = join_path(pair.path, name);
    VARVE_ASSIGN(const UnionEntry entry, below_.look_up(pair.below, name));
    if (!tree_.is_directory(node)) {
      VARVE_RETURN_IF_ERROR(match_name(node, entry, path));
      continue;
    }
    InodeSpec spec = tree_.node(node).spec;
    if (spec.redirect) {
      return Failure{EINVAL, "/" + path + ": continues at " + *spec.redirect +
                                 " of other layers, so this tree is not whole (--diff wants all of it)"};
    }
    Pair child{node, {}, path};
    const bool merges = entry.is_object() && S_ISDIR(entry.type);
    spec.opaque = entry.is_object() && !merges;
    tree_.set_spec(node, std::move(spec));
    differs_[node] = !merges;
    if (merges) {
      VARVE_ASSIGN(const bool same, same_as_below(node, entry.object, path));
      differs_[node] = !same;
      VARVE_ASSIGN(child.below, below_.enter(pair.below, name));
    }
    pending.push_back(std::move(child));
  }
  VARVE_ASSIGN(const std::vector<LayerUnion::NamedEntry> entries, below_.entries(pair.below));
  for (const auto& [name, entry] : entries) {
    const TreeIndex* own = tree_.find(pair.directory, name);
    if (entry.is_object() && (own == nullptr || *own == kWhiteoutNode)) {
      gone_.emplace_back(pair.directory, name);
    }
  }
  return {};
}

ResultOrFailure<bool> Difference::same_as_below(TreeIndex node, const UnionRef& object,
                                                const std::string& path) const {
  VARVE_ASSIGN(InodeSpec lower, read_object(below_.layer(object), object.id, path));
  return same_metadata(tree_.node(node).spec, std::move(lower));
}

StatusOrFailure Difference::match_name(TreeIndex node, const UnionEntry& entry, const std::string& path) {
  if (differs_[node]) return {};
  if (!entry.is_object() || S_ISDIR(entry.type)) {
    set_differs(node);
    return {};
  }
  const layer::Layer& layer = below_.layer(entry.object);
  const Result<std::uint64_t> number = layer.inode_number(entry.object.id);
  if (!number.ok()) return failure_from(number.error(), layer.name() + ": /" + path);
  if (const auto known = matches_.find(node); known != matches_.end()) {
    ++known->second.names;
    const bool same = known->second.object.layer == entry.object.layer && known->second.number == *number;
    if (!same) set_differs(node);
    return {};
  }
  VARVE_ASSIGN(const bool same, same_as_below(node, entry.object, path));
  if (same) {
    matches_.emplace(node, Match{entry.object, *number});
  } else {
    set_differs(node);
  }
  return {};
}

StatusOrFailure Difference::settle_links() {
  for (auto match = matches_.begin(); match != matches_.end();) {
    const UnionRef& object = match->second.object;
    const layer::Layer& layer = below_.layer(object);
    const Result<Attributes> attributes = layer.attributes(object.id);
    if (!attributes.ok()) return failure_from(attributes.error(), layer.name());
    // As many names as its layer gives it, and all of the tree's are among those: so they are all of them.
    if (attributes->nlink == match->second.names) {
      ++match;
    } else {
      differs_[match->first] = true;
      match = matches_.erase(match);
    }
  }
  return {};
}

StatusOrFailure Difference::compare_contents() {
  std::uint64_t total = 0;
  for (const auto& [node, match] : matches_) total += tree_.size_bytes(node);
  monitor_.begin("comparing", total);
  VARVE_RETURN_IF_ERROR(
      source_.for_each_content(tree_, [&](TreeIndex node, ContentSource& content) -> StatusOrFailure {
        if (monitor_.cancelled()) return cancelled_failure();
        const auto match = matches_.find(node);
        if (match == matches_.end()) return {};
        const layer::Layer& layer = below_.layer(match->second.object);
        const Result<std::unique_ptr<layer::LowerFile>> lower = layer.open_file(match->second.object.id);
        if (!lower.ok()) return failure_from(lower.error(), layer.name());
        ParentContent changes(content, tree_.size_bytes(node), **lower, layer.name());
        VARVE_ASSIGN(const std::optional<Chunk> change, changes.next());
        if (change) set_differs(node);
        return {};
      }));
  monitor_.end();
  return {};
}

void Difference::cut() {
  for (const auto& [directory, name] : gone_) differs_[directory] = true;
  // Backwards, so that a directory is asked for when all that is in it is settled.
  for (auto at = visited_.rbegin(); at != visited_.rend(); ++at) {
    if (differs_[at->second]) differs_[at->first] = true;
  }
  tree_.keep_names([&](TreeIndex node) { return node != kWhiteoutNode && differs_[node]; });
  for (const auto& [directory, name] : gone_) tree_.set_whiteout(directory, name);
}

}  // namespace

StatusOrFailure keep_difference(Tree& tree, TreeSource& source, const LayerUnion& below, Monitor& monitor) {
  InodeSpec root = tree.node(kTreeRoot).spec;
  root.opaque = false;
  tree.set_spec(kTreeRoot, std::move(root));
  return Difference(tree, source, below, monitor).run();
}

}  // namespace varve::image
