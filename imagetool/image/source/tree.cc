#include "imagetool/image/source/tree.h"

#include <sys/stat.h>

#include <utility>

namespace varve::image {
namespace {

bool is_device(std::uint32_t mode) {
  return S_ISCHR(mode) || S_ISBLK(mode);
}

}  // namespace

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

Tree::PackedNode Tree::pack(InodeSpec spec) {
  const Attributes attributes = std::exchange(spec.attributes, {});
  PackedNode packed;
  packed.mode = attributes.mode;
  packed.uid = attributes.uid;
  packed.gid = attributes.gid;
  packed.mtime_nanoseconds = attributes.mtime.nanoseconds;
  packed.mtime_seconds = attributes.mtime.seconds;
  packed.size_or_rdev = is_device(attributes.mode) ? attributes.rdev : attributes.size_bytes;
  // Named one by one: a field that InodeSpec gains does not compile until it is looked at here.
  const auto& [none, xattrs, symlink_target, opaque, redirect, base] = spec;
  if (!xattrs.empty() || !symlink_target.empty() || opaque || redirect || base)
    packed.rest = std::make_unique<InodeSpec>(std::move(spec));
  return packed;
}

const Tree::Node Tree::node(TreeIndex index) const {
  VARVE_CHECK(index < nodes_.size());
  const PackedNode& packed = nodes_[index];
  Node node;
  if (packed.rest) node.spec = *packed.rest;
  Attributes& attributes = node.spec.attributes;
  attributes.mode = packed.mode;
  attributes.uid = packed.uid;
  attributes.gid = packed.gid;
  attributes.mtime = {packed.mtime_seconds, packed.mtime_nanoseconds};
  (is_device(packed.mode) ? attributes.rdev : attributes.size_bytes) = packed.size_or_rdev;
  node.source_key = source_key(index);
  return node;
}

std::uint64_t Tree::size_bytes(TreeIndex index) const {
  if (nodes_.empty()) return sizes_[index] == kDirectorySize ? 0 : sizes_[index];
  return S_ISREG(nodes_[index].mode) ? nodes_[index].size_or_rdev : 0;
}

std::uint64_t Tree::source_key(TreeIndex index) const {
  return index < source_keys_.size() ? source_keys_[index] : 0;
}

void Tree::keep_only_sizes() {
  sizes_.reserve(nodes_.size());
  for (TreeIndex i = 0; i < nodes_.size(); ++i)
    sizes_.push_back(S_ISDIR(nodes_[i].mode) ? kDirectorySize : size_bytes(i));
  nodes_ = std::vector<PackedNode>();  // ={} would keep the memory
}

void Tree::set_spec(TreeIndex index, InodeSpec spec) {
  nodes_[index] = pack(std::move(spec));
}

void Tree::set_opaque(TreeIndex index) {
  PackedNode& packed = nodes_[index];
  if (!packed.rest) packed.rest = std::make_unique<InodeSpec>();
  packed.rest->opaque = true;
}

void Tree::set_source_key(TreeIndex index, std::uint64_t key) {
  if (source_keys_.size() <= index) source_keys_.resize(index + 1);
  source_keys_[index] = key;
}

void Tree::set_owner(TreeIndex index, std::uint32_t uid, std::uint32_t gid) {
  nodes_[index].uid = uid;
  nodes_[index].gid = gid;
}

void Tree::set_mtime(TreeIndex index, Timestamp mtime) {
  nodes_[index].mtime_seconds = mtime.seconds;
  nodes_[index].mtime_nanoseconds = mtime.nanoseconds;
}

TreeIndex Tree::add(InodeSpec spec) {
  VARVE_CHECK(nodes_.size() < kWhiteoutNode);
  nodes_.push_back(pack(std::move(spec)));
  return static_cast<TreeIndex>(nodes_.size() - 1);
}

void Tree::set_name(TreeIndex directory, std::string_view name, TreeIndex node) {
  VARVE_CHECK(is_directory(directory));
  names_[directory].set(name, node);
}

void Tree::keep_names(const std::function<bool(TreeIndex node)>& keep) {
  for (auto& [directory, names] : names_) {
    Names kept;
    for (const auto [name, node] : names) {
      if (keep(node)) kept.set(name, node);
    }
    names = std::move(kept);
  }
}

const TreeIndex* Tree::find(TreeIndex directory, std::string_view name) const {
  return names(directory).find(name);
}

const Tree::Names& Tree::names(TreeIndex directory) const {
  static const Names kNone;
  const auto found = names_.find(directory);
  return found == names_.end() ? kNone : found->second;
}

// A stack of its own instead of recursion: how deep a tree goes is up to whoever made it.
StatusOrFailure Tree::walk(const std::function<StatusOrFailure(const Visit&)>& visit) const {
  struct Level {
    TreeIndex directory;
    Names::Iterator next;
    Names::Iterator end;
    std::size_t path_size;  // of the directory's own path
  };
  std::string path;
  VARVE_RETURN_IF_ERROR(visit(Visit{path, "", kTreeRoot, kTreeRoot}));
  std::vector<Level> levels = {{kTreeRoot, names(kTreeRoot).begin(), names(kTreeRoot).end(), 0}};
  while (!levels.empty()) {
    Level& level = levels.back();
    path.resize(level.path_size);
    if (level.next == level.end) {
      levels.pop_back();
      continue;
    }
    const auto [name, node] = *level.next;
    ++level.next;
    if (!path.empty()) path.push_back('/');
    path.append(name);
    VARVE_RETURN_IF_ERROR(visit(Visit{path, name, level.directory, node}));
    if (is_directory(node)) levels.push_back({node, names(node).begin(), names(node).end(), path.size()});
  }
  return {};
}

}  // namespace varve::image
