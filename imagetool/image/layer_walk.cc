#include "imagetool/image/layer_walk.h"

#include <sys/stat.h>

#include <algorithm>

#include "imagetool/image/source/tree.h"

namespace varve::image {
namespace {

Failure at(const layer::Layer& layer, const std::string& path, Errno error) {
  return failure_from(error, layer.name() + ": /" + path);
}

}  // namespace

ResultOrFailure<InodeSpec> read_object(const layer::Layer& layer, LowerId id, const std::string& path) {
  const auto read = [&]() -> Result<InodeSpec> {
    InodeSpec spec;
    VARVE_ASSIGN(spec.attributes, layer.attributes(id));
    if (spec.attributes.is_symlink()) {
      VARVE_ASSIGN(spec.symlink_target, layer.read_link(id));
    }
    if (spec.attributes.is_directory()) {
      VARVE_ASSIGN(layer::DirectoryMark mark, layer.directory_mark(id));
      spec.opaque = mark.opaque;
      spec.redirect = std::move(mark.redirect);
    }
    VARVE_ASSIGN(const std::vector<std::string> names, layer.xattr_names(id));
    for (const std::string& name : names) {
      VARVE_ASSIGN(std::string value, layer.xattr(id, name));
      spec.xattrs.emplace_back(name, std::move(value));
    }
    std::sort(spec.xattrs.begin(), spec.xattrs.end());
    return spec;
  };
  Result<InodeSpec> spec = read();
  if (!spec.ok()) return at(layer, path, spec.error());
  return std::move(spec).value();
}

ResultOrFailure<std::vector<NamedEntry>> sorted_entries(const layer::Layer& layer, LowerId directory,
                                                        const std::string& path) {
  std::vector<NamedEntry> entries;
  const Status listed =
      layer.for_each_entry(directory, [&](std::string_view name, const layer::Entry& entry) {
        entries.push_back({std::string(name), entry});
        return true;
      });
  if (!listed.ok()) return at(layer, path, listed.error());
  std::sort(entries.begin(), entries.end(),
            [](const NamedEntry& a, const NamedEntry& b) { return a.name < b.name; });
  return entries;
}

StatusOrFailure walk_layer(const layer::Layer& layer,
                           const std::function<ResultOrFailure<bool>(const LayerVisit&)>& visit) {
  struct Level {
    std::vector<NamedEntry> entries;
    std::size_t next = 0;
    std::size_t path_size = 0;
  };
  std::string path;
  std::vector<Level> levels;
  const auto step = [&](const layer::Entry& entry, std::size_t depth, bool last) -> StatusOrFailure {
    VARVE_ASSIGN(const bool enter, visit(LayerVisit{path, entry, depth, last}));
    if (entry.kind != layer::Entry::Kind::kObject || !S_ISDIR(entry.type) || !enter) return {};
    VARVE_ASSIGN(std::vector<NamedEntry> entries, sorted_entries(layer, entry.id, path));
    levels.push_back({std::move(entries), 0, path.size()});
    return {};
  };
  VARVE_RETURN_IF_ERROR(step(layer::Entry{layer::Entry::Kind::kObject, layer.root(), S_IFDIR}, 0, true));
  while (!levels.empty()) {
    Level& level = levels.back();
    path.resize(level.path_size);
    if (level.next == level.entries.size()) {
      levels.pop_back();
      continue;
    }
    const NamedEntry current = level.entries[level.next++];  // `levels` may move
    path = join_path(path, current.name);
    VARVE_RETURN_IF_ERROR(step(current.entry, levels.size(), level.next == level.entries.size()));
  }
  return {};
}

ResultOrFailure<std::uint64_t> content_bytes(const layer::Layer& layer, const Monitor& monitor) {
  std::uint64_t total = 0;
  VARVE_RETURN_IF_ERROR(walk_layer(layer, [&](const LayerVisit& visit) -> ResultOrFailure<bool> {
    if (monitor.cancelled()) return cancelled_failure();
    if (!S_ISREG(visit.entry.type)) return true;
    const Result<Attributes> attributes = layer.attributes(visit.entry.id);
    if (!attributes.ok()) return at(layer, visit.path, attributes.error());
    total += attributes->size_bytes;
    return true;
  }));
  return total;
}

ResultOrFailure<LowerId> find_in_layer(const layer::Layer& layer, std::string_view path) {
  const Failure missing{ENOENT, layer.name() + ": no \"" + std::string(path) + "\" in this layer"};
  LowerId id = layer.root();
  for (std::size_t at_byte = 0; at_byte <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at_byte), path.size());
    const std::string_view part = path.substr(at_byte, slash - at_byte);
    at_byte = slash + 1;
    if (part.empty() || part == ".") continue;
    const Result<Name> name = Name::parse(part);
    if (!name.ok()) return missing;
    const Result<Attributes> attributes = layer.attributes(id);
    if (!attributes.ok()) return at(layer, std::string(path), attributes.error());
    if (!attributes->is_directory()) return missing;
    const Result<layer::Entry> entry = layer.look_up(id, *name);
    if (!entry.ok()) return at(layer, std::string(path), entry.error());
    if (entry->kind == layer::Entry::Kind::kWhiteout) {
      return Failure{ENOENT,
                     layer.name() + ": \"" + std::string(path) + "\" is deleted by this layer (a whiteout)"};
    }
    if (entry->kind != layer::Entry::Kind::kObject) return missing;
    id = entry->id;
  }
  return id;
}

}  // namespace varve::image
