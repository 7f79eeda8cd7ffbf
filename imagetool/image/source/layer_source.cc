#include "imagetool/image/source/layer_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "fs/format/layer_decode.h"
#include "fs/layer/file_pieces.h"
#include "fs/layer/read_fully.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/piece_difference.h"
#include "imagetool/image/source/lower_content.h"

namespace varve::image {
bool is_layer_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  std::array<std::byte, sizeof(format::LayerHeader)> start{};
  return layer::read_fully(fd.get(), 0, start).ok() && format::has_layer_magic(start);
}

ResultOrFailure<std::unique_ptr<LayerSource>> LayerSource::open(Options options, Monitor& monitor) {
  const layer::LayerContext context;
  std::vector<std::shared_ptr<layer::Layer>> bases;  // bottom first, as the next
  std::vector<std::shared_ptr<layer::Layer>> layers;
  const auto open_over = [&](const std::string& path) {
    // Where several are the same layer the last one is taken, so the new layer's parents before the old ones.
    std::vector<std::shared_ptr<layer::Layer>> below = bases;
    if (options.parents != nullptr) {
      below.insert(below.end(), options.parents->stack().begin(), options.parents->stack().end());
    }
    below.insert(below.end(), layers.begin(), layers.end());
    // One may be missing that no file wants any more: told when a file does.
    return layer::open_layer(path, context, {.layers = below, .all_there = false});
  };
  for (auto path = options.bases.rbegin(); path != options.bases.rend(); ++path) {
    VARVE_ASSIGN(std::shared_ptr<layer::Layer> base, open_over(*path));
    bases.push_back(std::move(base));
  }
  for (auto path = options.layers.rbegin(); path != options.layers.rend(); ++path) {
    VARVE_ASSIGN(std::shared_ptr<layer::Layer> layer, open_over(*path));
    layers.push_back(std::move(layer));
  }
  std::reverse(layers.begin(), layers.end());
  for (const auto& layer : layers) {
    if (layer->identity().kind == layer::Identity::Kind::kLayerFile) continue;
    return Failure{EINVAL, layer->name() + ": a directory among layer files (make a layer file of it first)"};
  }
  // The layers keep alive what they inherit from.
  return std::unique_ptr<LayerSource>(
      new LayerSource(LayerUnion(std::move(layers)), std::move(options), monitor));
}

const layer::LayerFile& LayerSource::file_layer(const UnionRef& object) const {
  return dynamic_cast<const layer::LayerFile&>(layers_.layer(object));
}

void LayerSource::mark_directory(InodeSpec& spec, const std::optional<std::string>& below,
                                 const std::optional<std::string>& unmarked) const {
  spec.redirect.reset();
  spec.opaque = !options_.flatten && !below && unmarked;
  if (!options_.flatten && below && below != unmarked) spec.redirect = *below;
}

StatusOrFailure LayerSource::check_whole(const UnionDirectory& merged, const std::string& path) const {
  if (!options_.flatten || !has_redirects_ || !merged.below) return {};
  // A redirect that finds something among the layers is followed by what it finds.
  const UnionRef& lowest = merged.sources.back();
  const std::string shown = layers_.layer(lowest).name() + ": /" + path;
  const Result<layer::DirectoryMark> mark = layers_.layer(lowest).directory_mark(lowest.id);
  if (!mark.ok()) return failure_from(mark.error(), shown);
  if (!mark->redirect) return {};
  return Failure{
      ENOENT, shown + ": continues " + *mark->redirect +
                  " of the layers below, and none of those given has that (name the file of the layer that "
                  "has it among the sources)"};
}

ResultOrFailure<Tree> LayerSource::scan() {
  for (std::size_t i = 0; i < layers_.layers().size(); ++i) {
    has_redirects_ =
        has_redirects_ || (file_layer({i, {}}).tables().incompat & format::kIncompatRedirect) != 0;
  }
  VARVE_ASSIGN(UnionDirectory merged, layers_.root());
  const UnionRef top = merged.sources.front();
  VARVE_ASSIGN(InodeSpec spec, read_object(layers_.layer(top), top.id, ""));
  mark_directory(spec, merged.below, "");
  Tree tree(std::move(spec));
  // A list of its own instead of recursion: how deep a tree goes is up to whoever made it.
  std::vector<Directory> pending;
  pending.push_back({std::move(merged), kTreeRoot, ""});
  while (!pending.empty()) {
    const Directory directory = std::move(pending.back());
    pending.pop_back();
    VARVE_RETURN_IF_ERROR(scan_directory(tree, directory, pending));
  }
  return tree;
}

StatusOrFailure LayerSource::scan_directory(Tree& tree, const Directory& directory,
                                            std::vector<Directory>& pending) {
  if (monitor_.cancelled()) return cancelled_failure();
  VARVE_ASSIGN(const std::vector<LayerUnion::NamedEntry> entries, layers_.entries(directory.merged));
  for (const auto& [name, entry] : entries) {
    std::string path = join_path(directory.path, name);
    if (options_.filter.excludes(path)) continue;
    if (!entry.is_object()) {
      if (directory.merged.below && !options_.flatten) tree.set_whiteout(directory.node, name);
      continue;
    }
    if (!S_ISDIR(entry.type)) {
      VARVE_ASSIGN(const TreeIndex node, scan_file(tree, entry.object, path));
      tree.set_name(directory.node, name, node);
      continue;
    }
    VARVE_ASSIGN(InodeSpec spec, read_object(layers_.layer(entry.object), entry.object.id, path));
    VARVE_ASSIGN(UnionDirectory merged, layers_.enter(directory.merged, name));
    VARVE_RETURN_IF_ERROR(check_whole(merged, path));
    std::optional<std::string> unmarked;
    if (directory.merged.below) unmarked = *directory.merged.below + "/" + name;
    mark_directory(spec, merged.below, unmarked);
    const TreeIndex node = tree.add(std::move(spec));
    tree.set_name(directory.node, name, node);
    pending.push_back({std::move(merged), node, std::move(path)});
  }
  return {};
}

ResultOrFailure<TreeIndex> LayerSource::scan_file(Tree& tree, const UnionRef& object,
                                                  const std::string& path) {
  const std::pair key(object.layer, object.id.value());
  if (const auto known = hard_links_.find(key); known != hard_links_.end()) return known->second;
  const layer::LayerFile& layer = file_layer(object);
  VARVE_ASSIGN(InodeSpec spec, read_object(layer, object.id, path));
  const bool linked = has_redirects_ || spec.attributes.nlink > 1;
  std::optional<ParentFile> base;
  if (spec.attributes.is_regular() && spec.attributes.size_bytes > 0) {
    VARVE_ASSIGN(base, kept_base(layer, object.id, "/" + path));
    if (base) spec.base = options_.parents->base(*base);
  }
  const bool has_content = spec.attributes.is_regular();
  const TreeIndex node = tree.add(std::move(spec));
  if (has_content) {
    files_.push_back({&layer, object.id, base});
    tree.set_source_key(node, files_.size());
  }
  if (linked) hard_links_.emplace(key, node);
  return node;
}

ResultOrFailure<std::optional<ParentFile>> LayerSource::kept_base(const layer::LayerFile& layer, LowerId id,
                                                                  const std::string& path) const {
  const std::string shown = layer.name() + ": " + path;
  const Result<layer::FileChain> chain = layer::chain_of(layer, id);
  if (!chain.ok()) return failure_from(chain.error(), shown);
  if (chain->end == layer::FileChain::End::kMissingParent) {
    return Failure{ENOENT,
                   shown + ": " + chain->why +
                       " (name its file with --parent, if the new layer is to lie on it, or with --base)"};
  }
  if (options_.parents == nullptr || !options_.keep_deltas) return std::optional<ParentFile>();
  for (const layer::FileChain::File& one : chain->files) {
    if (one.layer == &layer && one.file == id) continue;
    const auto found = options_.parents->in_layer(*one.layer, one.file);
    if (!found) continue;
    VARVE_ASSIGN(const LowerPieces pieces, pieces_over(layer, id, *found, shown));
    // Nothing is left that it would inherit.
    const bool all_own = pieces.changed.size() == 1 && pieces.changed.front().size_bytes == pieces.size_bytes;
    return all_own ? std::optional<ParentFile>() : found;
  }
  return std::optional<ParentFile>();
}

ResultOrFailure<LayerSource::LowerPieces> LayerSource::pieces_over(const layer::LayerFile& layer, LowerId id,
                                                                   const ParentFile& base,
                                                                   const std::string& shown) const {
  const Result<Attributes> attributes = layer.attributes(id);
  const auto pieces = layer::pieces_of(layer, id);
  const auto below = layer::pieces_of(options_.parents->layer_of(base), base.id);
  if (!attributes.ok() || !pieces.ok() || !below.ok()) return failure_from(Errno{EIO}, shown);
  return LowerPieces{.size_bytes = attributes->size_bytes,
                     .changed = changed_ranges(*pieces, attributes->size_bytes, *below),
                     .data_blocks = data_blocks_of(*pieces)};
}

StatusOrFailure LayerSource::take_content(const ContentFile& file, const File& from,
                                          const ContentConsumer& take) const {
  const std::string shown = from.layer->name() + ": /" + file.path;
  const Result<std::unique_ptr<layer::LowerFile>> lower = from.layer->open_file(from.id);
  if (!lower.ok()) return failure_from(lower.error(), shown);
  const std::uint64_t size_bytes = (*lower)->size_bytes();
  LowerContent::What what{.ranges = {{0, size_bytes}}, .path = shown};
  if (from.base) {
    VARVE_ASSIGN(LowerPieces pieces, pieces_over(*from.layer, from.id, *from.base, shown));
    what.is_delta = true;
    what.ranges = std::move(pieces.changed);
    what.digest = from.layer->content_digest(from.id);
    what.data_blocks = pieces.data_blocks;
  }
  LowerContent content(**lower, std::move(what), monitor_);
  return take(file.node, content);
}

StatusOrFailure LayerSource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  for (const ContentFile file : files_in_layer_order(tree, large_bytes_)) {
    VARVE_RETURN_IF_ERROR(take_content(file, files_[tree.source_key(file.node) - 1], take));
  }
  return {};
}

}  // namespace varve::image
