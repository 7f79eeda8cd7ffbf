#include "imagetool/image/source/tree.h"

namespace varve::image {

std::string join_path(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty()) path.push_back('/');
  path.append(name);
  return path;
}

Tree::Tree(InodeSpec root) {
  VARVE_CHECK(root.attributes.is_directory());
  add(std::move(root));
}

TreeIndex Tree::add(InodeSpec spec) {
  VARVE_CHECK(nodes_.size() < kWhiteoutNode);
  nodes_.push_back({std::move(spec), 0});
  names_.emplace_back();
  return static_cast<TreeIndex>(nodes_.size() - 1);
}

void Tree::set_name(TreeIndex directory, std::string_view name, TreeIndex node) {
  VARVE_CHECK(is_directory(directory));
  if (!names_[directory]) names_[directory] = std::make_unique<Names>();
  names_[directory]->insert_or_assign(std::string(name), node);
}

const TreeIndex* Tree::find(TreeIndex directory, std::string_view name) const {
  const Names& all = names(directory);
  const auto found = all.find(name);
  return found == all.end() ? nullptr : &found->second;
}

const Tree::Names& Tree::names(TreeIndex directory) const {
  static const Names kNone;
  return names_[directory] ? *names_[directory] : kNone;
}

// A stack of its own instead of recursion: how deep a tree goes is up to whoever made it.
StatusOrFailure Tree::walk(const std::function<StatusOrFailure(const Visit&)>& visit) const {
  struct Level {
    TreeIndex directory;
    Names::const_iterator next;
    std::size_t path_size;  // of the directory's own path
  };
  std::string path;
  VARVE_RETURN_IF_ERROR(visit(Visit{path, "", kTreeRoot, kTreeRoot}));
  std::vector<Level> levels = {{kTreeRoot, names(kTreeRoot).begin(), 0}};
  while (!levels.empty()) {
    Level& level = levels.back();
    path.resize(level.path_size);
    if (level.next == names(level.directory).end()) {
      levels.pop_back();
      continue;
    }
    const auto& [name, node] = *level.next++;
    if (!path.empty()) path.push_back('/');
    path.append(name);
    VARVE_RETURN_IF_ERROR(visit(Visit{path, name, level.directory, node}));
    if (is_directory(node)) levels.push_back({node, names(node).begin(), path.size()});
  }
  return {};
}

}  // namespace varve::image
