#include "imagetool/image/union_difference.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "fs/layer/layer_file.h"
#include "imagetool/image/layer_walk.h"

namespace varve::image {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 18;

// One of the two unions, and where it stands.
struct Side {
  const LayerUnion& layers;
  UnionDirectory directory;
  std::vector<LayerUnion::NamedEntry> entries;  // objects only
};

bool is_same(const LayerUnion& one_union, const UnionRef& one, const LayerUnion& other_union,
             const UnionRef& other) {
  return one.id == other.id && one_union.layer(one).identity() == other_union.layer(other).identity();
}

bool is_same(const Side& one, const Side& other) {
  return std::equal(
      one.directory.sources.begin(), one.directory.sources.end(), other.directory.sources.begin(),
      other.directory.sources.end(),
      [&](const UnionRef& a, const UnionRef& b) { return is_same(one.layers, a, other.layers, b); });
}

std::string path_of(const std::string& directory, const std::string& name) {
  return directory + "/" + name;
}

class Comparison {
 public:
  explicit Comparison(const std::function<void(const PathChange&)>& tell) : tell_(tell) {}

  // `path` "" for the root.
  StatusOrFailure directories(Side before, Side after, const std::string& path);
  StatusOrFailure objects(const LayerUnion& before, const UnionRef& old_object, const LayerUnion& after,
                          const UnionRef& new_object, const std::string& path);

 private:
  using Kind = PathChange::Kind;

  StatusOrFailure whole_tree(const LayerUnion& layers, const UnionDirectory& parent,
                             const LayerUnion::NamedEntry& entry, const std::string& path, Kind kind);
  StatusOrFailure entry(const Side& before, const LayerUnion::NamedEntry& old_entry, const Side& after,
                        const LayerUnion::NamedEntry& new_entry, const std::string& path);
  ResultOrFailure<bool> has_same_content(const layer::Layer& before, LowerId old_file,
                                         const layer::Layer& after, LowerId new_file,
                                         const std::string& path);

  const std::function<void(const PathChange&)>& tell_;
  std::vector<std::byte> old_bytes_ = std::vector<std::byte>(kReadBytes);
  std::vector<std::byte> new_bytes_ = std::vector<std::byte>(kReadBytes);
};

ResultOrFailure<Side> open_side(const LayerUnion& layers, UnionDirectory directory) {
  Side side{layers, std::move(directory), {}};
  VARVE_ASSIGN(side.entries, layers.entries(side.directory));
  std::erase_if(side.entries, [](const LayerUnion::NamedEntry& one) { return !one.entry.is_object(); });
  return side;
}

std::uint64_t bytes_of(const Attributes& attributes) {
  return S_ISREG(attributes.mode) ? attributes.size_bytes : 0;
}

StatusOrFailure Comparison::whole_tree(const LayerUnion& layers, const UnionDirectory& parent,
                                       const LayerUnion::NamedEntry& entry, const std::string& path,
                                       Kind kind) {
  const UnionRef& object = entry.entry.object;
  const Result<Attributes> attributes = layers.layer(object).attributes(object.id);
  if (!attributes.ok()) return failure_from(attributes.error(), layers.layer(object).name() + ": " + path);
  PathChange change{.kind = kind, .path = path};
  (kind == Kind::kAdded ? change.bytes_after : change.bytes_before) = bytes_of(*attributes);
  tell_(change);
  if (!S_ISDIR(entry.entry.type)) return {};
  VARVE_ASSIGN(UnionDirectory directory, layers.enter(parent, entry.name));
  VARVE_ASSIGN(const Side side, open_side(layers, std::move(directory)));
  for (const LayerUnion::NamedEntry& child : side.entries) {
    VARVE_RETURN_IF_ERROR(whole_tree(layers, side.directory, child, path_of(path, child.name), kind));
  }
  return {};
}

ResultOrFailure<bool> Comparison::has_same_content(const layer::Layer& before, LowerId old_file,
                                                   const layer::Layer& after, LowerId new_file,
                                                   const std::string& path) {
  const auto* const old_layer = dynamic_cast<const layer::LayerFile*>(&before);
  const auto* const new_layer = dynamic_cast<const layer::LayerFile*>(&after);
  if (old_layer != nullptr && new_layer != nullptr) {
    const auto old_digest = old_layer->content_digest(old_file);
    const auto new_digest = new_layer->content_digest(new_file);
    if (old_digest && new_digest) return *old_digest == *new_digest;
  }
  const auto old_open = before.open_file(old_file);
  if (!old_open.ok()) return failure_from(old_open.error(), before.name() + ": " + path);
  const auto new_open = after.open_file(new_file);
  if (!new_open.ok()) return failure_from(new_open.error(), after.name() + ": " + path);
  for (std::uint64_t offset = 0;;) {
    const Result<std::size_t> old_got = (*old_open)->read(offset, old_bytes_);
    if (!old_got.ok()) return failure_from(old_got.error(), before.name() + ": " + path);
    const Result<std::size_t> new_got = (*new_open)->read(offset, new_bytes_);
    if (!new_got.ok()) return failure_from(new_got.error(), after.name() + ": " + path);
    if (*old_got != *new_got || std::memcmp(old_bytes_.data(), new_bytes_.data(), *old_got) != 0)
      return false;
    if (*old_got == 0) return true;
    offset += *old_got;
  }
}

StatusOrFailure Comparison::objects(const LayerUnion& before, const UnionRef& old_object,
                                    const LayerUnion& after, const UnionRef& new_object,
                                    const std::string& path) {
  if (is_same(before, old_object, after, new_object)) return {};
  VARVE_ASSIGN(InodeSpec old_spec, read_object(before.layer(old_object), old_object.id, path));
  VARVE_ASSIGN(InodeSpec new_spec, read_object(after.layer(new_object), new_object.id, path));
  const Attributes& was = old_spec.attributes;
  const Attributes& is = new_spec.attributes;
  PathChange change{
      .path = path.empty() ? "/" : path, .bytes_before = bytes_of(was), .bytes_after = bytes_of(is)};
  const bool other_type = (was.mode & S_IFMT) != (is.mode & S_IFMT);
  const bool is_directory = S_ISDIR(is.mode);
  // A directory's time of change tells only that something in it has changed, which is told by itself.
  change.attributes = was.mode != is.mode || was.uid != is.uid || was.gid != is.gid ||
                      (!is_directory && was.mtime != is.mtime);
  std::sort(old_spec.xattrs.begin(), old_spec.xattrs.end());
  std::sort(new_spec.xattrs.begin(), new_spec.xattrs.end());
  change.xattrs = old_spec.xattrs != new_spec.xattrs;
  if (other_type) {
    change.content = change.attributes = true;
  } else if (S_ISREG(is.mode)) {
    change.content = was.size_bytes != is.size_bytes;
    if (!change.content) {
      VARVE_ASSIGN(const bool same, has_same_content(before.layer(old_object), old_object.id,
                                                     after.layer(new_object), new_object.id, path));
      change.content = !same;
    }
  } else {
    change.content = old_spec.symlink_target != new_spec.symlink_target || was.rdev != is.rdev;
  }
  if (change.content || change.attributes || change.xattrs) tell_(change);
  return {};
}

StatusOrFailure Comparison::entry(const Side& before, const LayerUnion::NamedEntry& old_entry,
                                  const Side& after, const LayerUnion::NamedEntry& new_entry,
                                  const std::string& path) {
  VARVE_RETURN_IF_ERROR(
      objects(before.layers, old_entry.entry.object, after.layers, new_entry.entry.object, path));
  const bool was_directory = S_ISDIR(old_entry.entry.type);
  const bool is_directory = S_ISDIR(new_entry.entry.type);
  if (!was_directory && !is_directory) return {};
  UnionDirectory old_directory;
  UnionDirectory new_directory;
  if (was_directory) {
    VARVE_ASSIGN(old_directory, before.layers.enter(before.directory, old_entry.name));
  }
  if (is_directory) {
    VARVE_ASSIGN(new_directory, after.layers.enter(after.directory, new_entry.name));
  }
  VARVE_ASSIGN(Side below, open_side(before.layers, std::move(old_directory)));
  VARVE_ASSIGN(Side now, open_side(after.layers, std::move(new_directory)));
  return directories(std::move(below), std::move(now), path);
}

StatusOrFailure Comparison::directories(Side before, Side after, const std::string& path) {
  if (is_same(before, after)) return {};
  auto old_one = before.entries.begin();
  auto new_one = after.entries.begin();
  while (old_one != before.entries.end() || new_one != after.entries.end()) {
    const int order = old_one == before.entries.end()  ? 1
                      : new_one == after.entries.end() ? -1
                                                       : old_one->name.compare(new_one->name);
    const std::string below = path_of(path, order <= 0 ? old_one->name : new_one->name);
    if (order < 0) {
      VARVE_RETURN_IF_ERROR(whole_tree(before.layers, before.directory, *old_one++, below, Kind::kRemoved));
    } else if (order > 0) {
      VARVE_RETURN_IF_ERROR(whole_tree(after.layers, after.directory, *new_one++, below, Kind::kAdded));
    } else {
      VARVE_RETURN_IF_ERROR(entry(before, *old_one++, after, *new_one++, below));
    }
  }
  return {};
}

}  // namespace

StatusOrFailure compare_unions(const LayerUnion& before, const LayerUnion& after,
                               const std::function<void(const PathChange&)>& tell) {
  VARVE_ASSIGN(UnionDirectory old_root, before.root());
  VARVE_ASSIGN(UnionDirectory new_root, after.root());
  Comparison comparison(tell);
  if (!old_root.sources.empty() && !new_root.sources.empty()) {
    VARVE_RETURN_IF_ERROR(
        comparison.objects(before, old_root.sources.front(), after, new_root.sources.front(), ""));
  }
  VARVE_ASSIGN(Side old_side, open_side(before, std::move(old_root)));
  VARVE_ASSIGN(Side new_side, open_side(after, std::move(new_root)));
  return comparison.directories(std::move(old_side), std::move(new_side), "");
}

}  // namespace varve::image
