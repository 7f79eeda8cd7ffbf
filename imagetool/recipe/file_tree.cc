#include "imagetool/recipe/file_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/object_at.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/layer_source.h"

namespace varve::recipe {
namespace {

constexpr unsigned kMaxLinks = 40;           // as the kernel (path_resolution(7))
constexpr std::size_t kMaxMatches = 100000;  // of one pattern

void push_components(std::deque<std::string>& to, std::string_view path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  to.insert(to.begin(), std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

bool has_wildcard(const std::string& component) {
  return component.find_first_of("*?[\\") != std::string::npos;
}

}  // namespace

ResultOrFailure<std::string> FileTree::resolve(std::string_view path) {
  std::deque<std::string> rest;
  push_components(rest, path);
  std::string resolved;
  bool exists = true;
  unsigned links = 0;
  while (!rest.empty()) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      resolved = directory_of(resolved);
      exists = true;  // perhaps: it is looked up
      continue;
    }
    std::string next = image::join_path(resolved, name);
    if (exists) {
      VARVE_ASSIGN(const std::optional<TreeObject> object, look_up(next));
      exists = object.has_value();
      if (object && object->is_symlink()) {
        if (++links > kMaxLinks)
          return Failure{ELOOP, shown(std::string(path)) + ": too many symbolic links"};
        if (object->link_target.starts_with('/')) resolved.clear();
        push_components(rest, object->link_target);
        continue;
      }
    }
    resolved = std::move(next);
  }
  return resolved;
}

ResultOrFailure<std::vector<std::string>> FileTree::expand(const std::string& pattern) {
  std::deque<std::string> rest;
  push_components(rest, pattern);
  std::vector<std::string> found = {""};
  while (!rest.empty() && !found.empty()) {
    const std::string component = std::move(rest.front());
    rest.pop_front();
    if (component == ".") continue;
    std::vector<std::string> next;
    for (const std::string& before : found) {
      if (component == "..") {
        next.push_back(directory_of(before));
        continue;
      }
      VARVE_ASSIGN(const std::string directory, resolve(before));
      VARVE_ASSIGN(const std::optional<TreeObject> object, look_up(directory));
      if (!object || !object->is_directory()) continue;
      std::vector<std::string> candidates = {component};
      if (has_wildcard(component)) {
        VARVE_ASSIGN(candidates, names(directory));
        std::erase_if(candidates, [&](const std::string& name) {
          return ::fnmatch(component.c_str(), name.c_str(), 0) != 0;
        });
      }
      for (const std::string& name : candidates) {
        VARVE_ASSIGN(const std::optional<TreeObject> one, look_up(image::join_path(directory, name)));
        if (one) next.push_back(image::join_path(directory, name));
      }
      if (next.size() > kMaxMatches) return Failure{E2BIG, pattern + ": matches more than 100000 files"};
    }
    found = std::move(next);
  }
  return found;
}

// --- the context ---

std::string ContextTree::shown(const std::string& path) const {
  return directory_ + (path.empty() ? "" : "/" + path);
}

ResultOrFailure<std::optional<TreeObject>> ContextTree::look_up(const std::string& path) {
  struct stat status {};
  if (::lstat(shown(path).c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<TreeObject>();
    return failure_from(Errno::last(), shown(path));
  }
  if (!path.empty() && ignored_.ignores(path) &&
      !(S_ISDIR(status.st_mode) && ignored_.may_take_below(path))) {
    return std::optional<TreeObject>();
  }
  TreeObject object{.mode = status.st_mode, .link_target = ""};
  if (object.is_symlink()) {
    Result<std::string> target = image::read_link_at(AT_FDCWD, shown(path));
    if (!target.ok()) return failure_from(target.error(), shown(path));
    object.link_target = std::move(target).value();
  }
  return std::optional(std::move(object));
}

ResultOrFailure<std::vector<std::string>> ContextTree::names(const std::string& path) {
  const UniqueFd directory(::open(shown(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return failure_from(Errno::last(), shown(path));
  Result<std::vector<std::string>> listed = image::list_names(directory.get());
  if (!listed.ok()) return failure_from(listed.error(), shown(path));
  return std::move(listed).value();
}

ResultOrFailure<std::unique_ptr<image::TreeSource>> ContextTree::open(image::PathFilter filter,
                                                                      image::Monitor& monitor) {
  VARVE_ASSIGN(
      std::unique_ptr<image::TreeSource> source,
      image::DirectorySource::open(directory_, {.filter = std::move(filter), .literal = true}, monitor));
  return source;
}

// --- a stage ---

ResultOrFailure<std::unique_ptr<LayeredTree>> LayeredTree::open_stack(
    const std::vector<std::string>& layer_paths, std::string name) {
  const std::vector<std::string> top_first(layer_paths.rbegin(), layer_paths.rend());
  std::vector<std::shared_ptr<layer::Layer>> layers;
  if (!top_first.empty()) {
    VARVE_ASSIGN(layers, layer::open_stack(top_first, {}));
  }
  return std::unique_ptr<LayeredTree>(
      new LayeredTree(image::LayerUnion(std::move(layers)), layer_paths, std::move(name)));
}

std::string LayeredTree::shown(const std::string& path) const {
  return name_ + ": /" + path;
}

ResultOrFailure<image::UnionDirectory> LayeredTree::enter(const std::string& path) {
  if (const auto known = directories_.find(path); known != directories_.end()) return known->second;
  image::UnionDirectory directory;
  if (path.empty()) {
    VARVE_ASSIGN(directory, layers_.root());
  } else {
    VARVE_ASSIGN(const image::UnionDirectory parent, enter(directory_of(path)));
    VARVE_ASSIGN(directory, layers_.enter(parent, name_of(path)));
  }
  directories_.emplace(path, directory);
  return directory;
}

ResultOrFailure<image::UnionEntry> LayeredTree::entry(const std::string& path) {
  VARVE_ASSIGN(const image::UnionDirectory parent, enter(directory_of(path)));
  return layers_.look_up(parent, name_of(path));
}

ResultOrFailure<std::optional<image::InodeSpec>> LayeredTree::spec(const std::string& path) {
  image::UnionRef object;
  if (path.empty()) {
    VARVE_ASSIGN(const image::UnionDirectory root, layers_.root());
    if (root.sources.empty()) return std::optional<image::InodeSpec>();
    object = root.sources.front();
  } else {
    VARVE_ASSIGN(const image::UnionEntry found, entry(path));
    if (!found.is_object()) return std::optional<image::InodeSpec>();
    object = found.object;
  }
  VARVE_ASSIGN(image::InodeSpec spec, image::read_object(layers_.layer(object), object.id, path));
  spec.opaque = false;
  spec.redirect.reset();
  return std::optional(std::move(spec));
}

ResultOrFailure<std::optional<TreeObject>> LayeredTree::look_up(const std::string& path) {
  VARVE_ASSIGN(std::optional<image::InodeSpec> found, spec(path));
  if (!found) {
    // Without any layer there is a root all the same.
    return path.empty() ? std::optional(TreeObject{.mode = S_IFDIR | 0755, .link_target = ""}) : std::nullopt;
  }
  return std::optional(
      TreeObject{.mode = found->attributes.mode, .link_target = std::move(found->symlink_target)});
}

ResultOrFailure<std::vector<std::string>> LayeredTree::names(const std::string& path) {
  VARVE_ASSIGN(const image::UnionDirectory directory, enter(path));
  VARVE_ASSIGN(const std::vector<image::LayerUnion::NamedEntry> entries, layers_.entries(directory));
  std::vector<std::string> found;
  for (const auto& [name, one] : entries) {
    if (one.is_object()) found.push_back(name);
  }
  return found;
}

ResultOrFailure<std::unique_ptr<image::TreeSource>> LayeredTree::open(image::PathFilter filter,
                                                                      image::Monitor& monitor) {
  if (layer_paths_.empty()) return Failure{ENOENT, name_ + ": it is empty"};
  image::LayerSource::Options options;
  options.layers.assign(layer_paths_.rbegin(), layer_paths_.rend());
  options.flatten = true;
  options.filter = std::move(filter);
  VARVE_ASSIGN(std::unique_ptr<image::TreeSource> source,
               image::LayerSource::open(std::move(options), monitor));
  return source;
}

ResultOrFailure<std::string> LayeredTree::read_file(const std::string& path, std::uint64_t limit_bytes) {
  VARVE_ASSIGN(const image::UnionEntry found, entry(path));
  if (!found.is_object() || !S_ISREG(found.type)) return std::string();
  const Result<std::unique_ptr<layer::LowerFile>> file =
      layers_.layer(found.object).open_file(found.object.id);
  if (!file.ok()) return failure_from(file.error(), shown(path));
  if ((*file)->size_bytes() > limit_bytes) return std::string();
  std::string bytes((*file)->size_bytes(), '\0');
  const Result<std::size_t> got = (*file)->read(0, std::as_writable_bytes(std::span(bytes)));
  if (!got.ok()) return failure_from(got.error(), shown(path));
  bytes.resize(*got);
  return bytes;
}

}  // namespace varve::recipe
