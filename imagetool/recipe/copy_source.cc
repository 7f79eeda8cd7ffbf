#include "imagetool/recipe/copy_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "imagetool/recipe/digest_fields.h"

namespace varve::recipe {
namespace {

using image::Tree;
using image::TreeIndex;

constexpr std::size_t kNameMax = 255;

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string_view name_of(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

Failure too_long(const std::string& path) {
  return Failure{ENAMETOOLONG, "/" + path.substr(0, 100) + "...: a name of more than 255 bytes"};
}

// All bytes, those of holes too: where holes lie is up to the file system.
ResultOrFailure<image::Digest> digest_of(image::ContentSource& content, std::uint64_t size_bytes) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  image::Sha256 hash;
  std::uint64_t done = 0;
  const auto fill = [&](std::uint64_t up_to) {
    while (done < up_to) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(up_to - done, kZeros.size()));
      hash.update(std::span(kZeros).first(count));
      done += count;
    }
  };
  for (;;) {
    VARVE_ASSIGN(const std::optional<image::Chunk> chunk, content.next());
    if (!chunk) break;
    fill(chunk->offset_bytes);
    hash.update(chunk->bytes);
    done = chunk->offset_bytes + chunk->bytes.size();
  }
  fill(size_bytes);
  return hash.finish();
}

}  // namespace

ResultOrFailure<std::unique_ptr<CopySource>> CopySource::make(std::vector<CopyPart> parts, CopyTarget target,
                                                              image::Monitor& monitor) {
  VARVE_ASSIGN(std::optional<image::InodeSpec> root, target.below->spec(""));
  if (!root) {
    root.emplace();
    root->attributes.mode = S_IFDIR | 0755;
    root->attributes.mtime = target.now;
  }
  std::unique_ptr<CopySource> made(new CopySource(std::move(target), std::move(*root), monitor));
  made->directories_.emplace("", image::kTreeRoot);
  for (const std::string& directory : made->target_.directories) {
    VARVE_ASSIGN(const TreeIndex node, made->make_directory(directory));
    VARVE_CHECK(made->tree_.is_directory(node));
  }
  for (CopyPart& part : parts) {
    VARVE_ASSIGN(Tree tree, part.source->scan());
    ScannedPart scanned{std::move(part.source), std::move(tree), {}};
    for (const CopyItem& item : part.items) VARVE_RETURN_IF_ERROR(made->copy_item(part, scanned, item));
    made->parts_.push_back(std::move(scanned));
  }
  VARVE_RETURN_IF_ERROR(made->forget_replaced());
  return made;
}

// Of several files for one name the last holds: the others have no name, and their contents are not asked for.
StatusOrFailure CopySource::forget_replaced() {
  std::vector<bool> named(tree_.node_count(), false);
  VARVE_RETURN_IF_ERROR(tree_.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    named[visit.node] = true;
    return {};
  }));
  for (ScannedPart& part : parts_) {
    for (auto& [node, copies] : part.copies)
      std::erase_if(copies, [&](TreeIndex copy) { return !named[copy]; });
  }
  return {};
}

image::InodeSpec CopySource::new_directory() const {
  image::InodeSpec spec;
  spec.attributes.mode = S_IFDIR | 0755;
  spec.attributes.mtime = target_.now;
  return adapted(std::move(spec), false);
}

image::InodeSpec CopySource::adapted(image::InodeSpec spec, bool keep_owners) const {
  if (!keep_owners || target_.owner) {
    const image::Owner owner = target_.owner.value_or(image::Owner{});
    spec.attributes.uid = owner.uid;
    spec.attributes.gid = owner.gid;
  }
  return spec;
}

ResultOrFailure<TreeIndex> CopySource::make_directory(const std::string& path) {
  if (const auto known = directories_.find(path); known != directories_.end()) return known->second;
  if (name_of(path).size() > kNameMax) return too_long(path);
  VARVE_ASSIGN(const TreeIndex parent, make_directory(directory_of(path)));
  VARVE_ASSIGN(std::optional<image::InodeSpec> there, target_.below->spec(path));
  const TreeIndex* here = tree_.find(parent, name_of(path));
  if ((here != nullptr && !tree_.is_directory(*here)) || (there && !there->attributes.is_directory())) {
    return Failure{ENOTDIR, "/" + path + ": there is a file already, where a directory is needed"};
  }
  if (!there) ++added_;
  const TreeIndex node = tree_.add(there ? std::move(*there) : new_directory());
  tree_.set_name(parent, name_of(path), node);
  directories_.emplace(path, node);
  return node;
}

// Returns: the path that it is to be found at: through a symbolic link to a directory if that is there.
ResultOrFailure<std::string> CopySource::place_directory(const std::string& path, image::InodeSpec spec) {
  if (const auto known = directories_.find(path); known != directories_.end()) {
    if (known->second != image::kTreeRoot) tree_.set_spec(known->second, std::move(spec));
    return path;
  }
  VARVE_ASSIGN(const std::optional<TreeObject> there, target_.below->look_up(path));
  if (there && there->is_symlink()) {
    VARVE_ASSIGN(const std::string led_to, target_.below->resolve(path));
    VARVE_ASSIGN(const TreeIndex node, make_directory(led_to));
    VARVE_CHECK(tree_.is_directory(node));
    return led_to;
  }
  VARVE_ASSIGN(const TreeIndex node, make_directory(path));
  if (there) ++added_;
  tree_.set_spec(node, std::move(spec));
  return path;
}

StatusOrFailure CopySource::place_name(const std::string& path, TreeIndex node) {
  if (name_of(path).size() > kNameMax) return too_long(path);
  VARVE_ASSIGN(const std::optional<TreeObject> there, target_.below->look_up(path));
  if (directories_.contains(path) || (there && there->is_directory())) {
    return Failure{EISDIR, "/" + path + ": there is a directory already, where a file is to be"};
  }
  VARVE_ASSIGN(const TreeIndex parent, make_directory(directory_of(path)));
  tree_.set_name(parent, name_of(path), node);
  ++added_;
  return {};
}

ResultOrFailure<TreeIndex> CopySource::place_file(const std::string& path, image::InodeSpec spec) {
  const TreeIndex node = tree_.add(std::move(spec));
  VARVE_RETURN_IF_ERROR(place_name(path, node));
  return node;
}

StatusOrFailure CopySource::copy_item(const CopyPart& part, ScannedPart& scanned, const CopyItem& item) {
  std::unordered_map<TreeIndex, std::string> places;  // of directories of the source
  std::unordered_map<TreeIndex, TreeIndex> links;     // files that have been placed
  const std::string beneath = item.from.empty() ? "" : item.from + "/";
  return scanned.tree.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (monitor_.cancelled()) return image::cancelled_failure();
    const bool is_item = visit.path == item.from;
    if (visit.node == image::kWhiteoutNode || (!is_item && !visit.path.starts_with(beneath))) return {};
    std::string to = item.to;
    if (!is_item) to = image::join_path(places.at(visit.directory), visit.name);
    const bool is_directory = scanned.tree.is_directory(visit.node);
    // Of one that is left out something may still be taken; then it is made.
    if (!visit.path.empty() && part.ignored != nullptr && part.ignored->ignores(visit.path)) {
      if (is_directory) places.emplace(visit.node, std::move(to));
      return {};
    }
    if (const auto known = links.find(visit.node); known != links.end()) return place_name(to, known->second);
    image::InodeSpec spec = adapted(scanned.tree.node(visit.node).spec, part.keep_owners);
    if (target_.mode && !spec.attributes.is_symlink()) {
      spec.attributes.mode = (spec.attributes.mode & S_IFMT) | *target_.mode;
    }
    if (is_directory) {
      VARVE_ASSIGN(const std::optional<TreeObject> there, target_.below->look_up(to));
      // The directory that is copied into stays what it is; that of the whole context has no attributes worth having.
      if (is_item && (there || item.from.empty() || directories_.contains(to))) {
        VARVE_ASSIGN(const TreeIndex made, make_directory(to));
        VARVE_CHECK(tree_.is_directory(made));
      } else {
        VARVE_ASSIGN(to, place_directory(to, std::move(spec)));
      }
      places.emplace(visit.node, std::move(to));
      return {};
    }
    VARVE_ASSIGN(const TreeIndex node, place_file(to, std::move(spec)));
    links.emplace(visit.node, node);
    if (scanned.tree.size_bytes(visit.node) > 0) scanned.copies[visit.node].push_back(node);
    return {};
  });
}

StatusOrFailure CopySource::for_each_content(const Tree&, const ContentConsumer& take) {
  for (ScannedPart& part : parts_) {
    part.source->set_large_bytes(large_bytes_);
    std::size_t most = 0;
    for (const auto& [node, copies] : part.copies) most = std::max(most, copies.size());
    // A content can be taken once each time it is read.
    for (std::size_t turn = 0; turn < most; ++turn) {
      VARVE_RETURN_IF_ERROR(part.source->for_each_content(
          part.tree, [&](TreeIndex node, image::ContentSource& content) -> StatusOrFailure {
            const auto found = part.copies.find(node);
            if (found == part.copies.end() || found->second.size() <= turn) return {};
            return take(found->second[turn], content);
          }));
    }
  }
  return {};
}

ResultOrFailure<image::Digest> CopySource::digest() {
  std::unordered_map<TreeIndex, image::Digest> contents;
  VARVE_RETURN_IF_ERROR(
      for_each_content(tree_, [&](TreeIndex node, image::ContentSource& content) -> StatusOrFailure {
        if (monitor_.cancelled()) return image::cancelled_failure();
        VARVE_ASSIGN(image::Digest digest, digest_of(content, tree_.size_bytes(node)));
        contents.emplace(node, std::move(digest));
        return {};
      }));
  DigestFields fields;
  std::unordered_map<TreeIndex, std::uint64_t> numbers;  // in the order of the walk: tells hard links
  VARVE_RETURN_IF_ERROR(tree_.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    fields.add(visit.path);
    fields.add(numbers.emplace(visit.node, numbers.size()).first->second);
    const image::InodeSpec spec = tree_.node(visit.node).spec;
    const Attributes& attributes = spec.attributes;
    for (const std::uint64_t number : {std::uint64_t{attributes.mode}, std::uint64_t{attributes.uid},
                                       std::uint64_t{attributes.gid}, attributes.rdev}) {
      fields.add(number);
    }
    fields.add(spec.symlink_target);
    fields.add(spec.xattrs.size());
    for (const auto& [name, value] : spec.xattrs) {
      fields.add(name);
      fields.add(value);
    }
    fields.add(tree_.size_bytes(visit.node));
    const auto content = contents.find(visit.node);
    if (content != contents.end()) fields.add(content->second.text());
    return {};
  }));
  return fields.finish();
}

// --- texts ---

ResultOrFailure<Tree> TextSource::scan() {
  image::InodeSpec root;
  root.attributes.mode = S_IFDIR | 0755;
  Tree tree(std::move(root));
  for (std::size_t i = 0; i < files_.size(); ++i) {
    image::InodeSpec spec;
    spec.attributes.mode = S_IFREG | 0644;
    spec.attributes.mtime = mtime_;
    spec.attributes.size_bytes = files_[i].second.size();
    const TreeIndex node = tree.add(std::move(spec));
    tree.set_source_key(node, i + 1);
    tree.set_name(image::kTreeRoot, files_[i].first, node);
  }
  return tree;
}

StatusOrFailure TextSource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  class Text : public image::ContentSource {
   public:
    explicit Text(std::string_view text) : text_(text) {}
    ResultOrFailure<std::optional<image::Chunk>> next() override {
      if (done_) return std::optional<image::Chunk>();
      done_ = true;
      return std::optional(
          image::Chunk{.offset_bytes = 0, .bytes = std::as_bytes(std::span(text_)), .hole_bytes = 0});
    }

   private:
    std::string_view text_;
    bool done_ = false;
  };
  for (const image::ContentFile file : image::files_in_layer_order(tree, large_bytes_)) {
    Text text(files_[tree.source_key(file.node) - 1].second);
    VARVE_RETURN_IF_ERROR(take(file.node, text));
  }
  return {};
}

}  // namespace varve::recipe
