#include "imagetool/image/source/upper_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/layer/open_beneath.h"
#include "fs/upper/cow/cow_file.h"
#include "imagetool/image/layer_walk.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kPieceBytes = 1 << 20;
constexpr std::uint64_t kBlockBytes = 4096;  // of the upper's block maps and of the layer format
constexpr unsigned kMaxDepth = 2000;

// The content of a file of the upper: all of it, or, of one that is to inherit from its base, the blocks that it does not read
// from there.
class CowContent : public ContentSource {
 public:
  struct What {
    std::uint64_t size_bytes = 0;
    const layer::LowerFile* base = nullptr;  // what it is to inherit from; then only its own blocks are given
    std::string path;                        // for messages
  };
  CowContent(const upper::CowFile& file, What what, Monitor& monitor)
      : file_(file),
        what_(std::move(what)),
        monitor_(monitor),
        buffer_(std::min(what_.size_bytes, kPieceBytes)),
        range_end_(what_.base != nullptr ? 0 : what_.size_bytes) {}

  std::optional<std::uint64_t> data_blocks() const override {
    return what_.base == nullptr ? std::nullopt : std::optional(data_blocks_);
  }

  ResultOrFailure<std::optional<Chunk>> next() override {
    if (monitor_.cancelled()) return cancelled_failure();
    if (offset_ >= range_end_ && what_.base != nullptr) VARVE_RETURN_IF_ERROR(find_range());
    if (offset_ < range_end_ && offset_ >= data_end_) {
      const std::uint64_t hole = offset_;
      VARVE_RETURN_IF_ERROR(find_data());
      if (what_.base != nullptr && offset_ > hole) {
        return std::optional(Chunk{.offset_bytes = hole, .bytes = {}, .hole_bytes = offset_ - hole});
      }
    }
    if (offset_ >= range_end_) return std::optional<Chunk>{};
    const std::size_t want =
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), data_end_ - offset_));
    // All of it: what is inherited is described in whole blocks.
    for (std::size_t have = 0; have < want;) {
      const Result<std::size_t> got =
          file_.read(offset_ + have, std::span(buffer_).subspan(have, want - have));
      if (!got.ok()) return failure_from(got.error(), what_.path);
      if (*got == 0) return Failure{EIO, what_.path + ": ends before its size"};
      have += *got;
    }
    const Chunk chunk{.offset_bytes = offset_, .bytes = std::span(buffer_).first(want), .hole_bytes = 0};
    offset_ += want;
    data_blocks_ += (want + kBlockBytes - 1) / kBlockBytes;
    monitor_.advance(want);
    return std::optional<Chunk>{chunk};
  }

 private:
  // The next range that is not inherited; none: offset_ and range_end_ are at the end of the file.
  StatusOrFailure find_range() {
    const Result<std::optional<layer::Range>> own = file_.next_own(offset_);
    if (!own.ok()) return failure_from(own.error(), what_.path);
    const std::uint64_t inherited = offset_;
    offset_ = own->has_value() ? std::min((*own)->offset_bytes, what_.size_bytes) : what_.size_bytes;
    range_end_ =
        own->has_value() ? std::min((*own)->offset_bytes + (*own)->size_bytes, what_.size_bytes) : offset_;
    data_end_ = offset_;
    return count_inherited(inherited, offset_);
  }

  // What is inherited before the range that was found, in blocks that hold data.
  StatusOrFailure count_inherited(std::uint64_t from, std::uint64_t to) {
    while (from < to) {
      const Result<std::optional<layer::Range>> data = what_.base->next_data(from);
      if (!data.ok()) return failure_from(data.error(), what_.path);
      if (!data->has_value() || (*data)->offset_bytes >= to) break;
      const std::uint64_t end = std::min((*data)->offset_bytes + (*data)->size_bytes, to);
      const std::uint64_t first = (*data)->offset_bytes / kBlockBytes;
      data_blocks_ += (end + kBlockBytes - 1) / kBlockBytes - first;
      from = end;
    }
    return {};
  }

  // Within the range: offset_ moves on to data, or to the end of the range, and data_end_ to where the data ends. Blocks that
  // hold a byte of data are data.
  StatusOrFailure find_data() {
    const Result<std::uint64_t> start = file_.seek(offset_, SEEK_DATA);
    if ((!start.ok() && start.error().value == ENXIO) || (start.ok() && *start >= range_end_)) {
      offset_ = data_end_ = range_end_;
      return {};
    }
    if (!start.ok()) return failure_from(start.error(), what_.path);
    const Result<std::uint64_t> end = file_.seek(*start, SEEK_HOLE);
    if (!end.ok()) return failure_from(end.error(), what_.path);
    offset_ = std::max(offset_, *start / kBlockBytes * kBlockBytes);
    data_end_ = std::min((*end + kBlockBytes - 1) / kBlockBytes * kBlockBytes, range_end_);
    return {};
  }

  const upper::CowFile& file_;
  const What what_;
  Monitor& monitor_;
  std::vector<std::byte> buffer_;
  std::uint64_t offset_ = 0;
  std::uint64_t range_end_;  // of what is given, from offset_ on
  std::uint64_t data_end_ = 0;
  std::uint64_t data_blocks_ = 0;  // so far
};

}  // namespace

std::string base_line(const layer::Identity& identity) {
  return (identity.kind == layer::Identity::Kind::kLayerFile ? "layer " : "directory ") + identity.value;
}

struct UpperSource::Directory {
  int fd = -1;
  TreeIndex node = kTreeRoot;
  std::string path;
  unsigned depth = 0;
};

UpperSource::UpperSource(Options options, std::unique_ptr<upper::UpperStore> store, Monitor& monitor)
    : options_(std::move(options)), store_(std::move(store)), monitor_(monitor) {}

ResultOrFailure<std::unique_ptr<UpperSource>> UpperSource::open(Options options, Monitor& monitor) {
  upper::UpperStore::Options store_options;
  store_options.upper_path = options.upper_path;
  store_options.work_path = options.work_path;
  for (const auto& one : options.layers) store_options.base_stack.push_back(base_line(one->identity()));
  VARVE_ASSIGN(std::unique_ptr<upper::UpperStore> store, upper::UpperStore::open(store_options));
  return std::unique_ptr<UpperSource>(new UpperSource(std::move(options), std::move(store), monitor));
}

std::string UpperSource::shown(std::string_view path) const {
  return join_path(options_.upper_path, path);
}

Result<InodeSpec> UpperSource::read_spec(upper::ObjectRef object, const upper::UpperEntry& entry) const {
  InodeSpec spec;
  spec.attributes = entry.attributes;
  spec.opaque = entry.marks.opaque;
  spec.redirect = entry.marks.redirect;
  if (spec.attributes.is_symlink()) {
    VARVE_ASSIGN(spec.symlink_target, store_->read_link(object));
  }
  VARVE_ASSIGN(const std::vector<std::string> names, store_->xattr_names(object));
  for (const std::string& name : names) {
    VARVE_ASSIGN(std::string value, store_->xattr(object, name));
    spec.xattrs.emplace_back(name, std::move(value));
  }
  return spec;
}

StatusOrFailure UpperSource::scan_name(Tree& tree, const Directory& in, const std::string& name) {
  const std::string path = join_path(in.path, name);
  const upper::ObjectRef object{in.fd, name};
  const Result<upper::UpperEntry> entry = store_->look_up(object);
  if (!entry.ok()) return failure_from(entry.error(), shown(path));
  if (entry->kind == upper::UpperEntry::Kind::kAbsent) return failure_from(Errno{ENOENT}, shown(path));
  if (entry->kind == upper::UpperEntry::Kind::kWhiteout) {
    tree.set_whiteout(in.node, name);
    return {};
  }
  const bool is_directory = entry->attributes.is_directory();
  const bool linked = !is_directory && entry->attributes.nlink > 1;
  if (const auto known = hard_links_.find(entry->inode_number); linked && known != hard_links_.end()) {
    tree.set_name(in.node, name, known->second);
    return {};
  }
  Result<InodeSpec> spec = read_spec(object, *entry);
  if (!spec.ok()) return failure_from(spec.error(), shown(path));
  VARVE_ASSIGN(spec->base, delta_base(*entry, path));
  const bool inherits = spec->base.has_value();
  const TreeIndex node = tree.add(std::move(spec).value());
  if (inherits) inheriting_.insert(node);
  tree.set_name(in.node, name, node);
  if (linked) hard_links_.emplace(entry->inode_number, node);
  if (!is_directory && entry->marks.origin && entry->marks.nlink_delta > 0) {
    lower_links_.emplace(std::pair(entry->marks.origin->slot.value(), entry->marks.origin->inode_number),
                         node);
    paths_.emplace(node, path);
  }
  if (!is_directory) return {};
  const Result<UniqueFd> opened = store_->open_directory(object);
  if (!opened.ok()) return failure_from(opened.error(), shown(path));
  return scan_directory(tree, Directory{opened->get(), node, path, in.depth + 1});
}

StatusOrFailure UpperSource::scan_directory(Tree& tree, const Directory& directory) {
  if (monitor_.cancelled()) return cancelled_failure();
  if (directory.depth > kMaxDepth)
    return Failure{ELOOP, shown(directory.path) + ": more than 2000 directories deep"};
  Result<std::vector<upper::UpperStore::ListedEntry>> entries = store_->list({directory.fd, {}});
  if (!entries.ok()) return failure_from(entries.error(), shown(directory.path));
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  for (const auto& entry : *entries) VARVE_RETURN_IF_ERROR(scan_name(tree, directory, entry.name));
  return {};
}

ResultOrFailure<Tree> UpperSource::scan() {
  const upper::ObjectRef root{store_->root_fd(), {}};
  const Result<upper::UpperEntry> entry = store_->look_up(root);
  if (!entry.ok()) return failure_from(entry.error(), options_.upper_path);
  Result<InodeSpec> spec = read_spec(root, *entry);
  if (!spec.ok()) return failure_from(spec.error(), options_.upper_path);
  Tree tree(std::move(spec).value());
  VARVE_RETURN_IF_ERROR(scan_directory(tree, Directory{store_->root_fd(), kTreeRoot, "", 0}));
  VARVE_RETURN_IF_ERROR(add_lower_links(tree, options_.layers, lower_links_, monitor_));
  return tree;
}

// The mark is not proof: the path must still lead to the file that was copied up.
ResultOrFailure<UpperSource::BaseFile> UpperSource::find_base(const upper::Base& base,
                                                              const std::string& path) const {
  if (base.slot.value() < 1 || base.slot.value() > options_.layers.size()) {
    return Failure{EIO, shown(path) + ": copied up from a layer that the stack does not have"};
  }
  const layer::Layer& layer = *options_.layers[base.slot.value() - 1];
  if (base.path.empty()) {
    const std::string what = layer.name() + ": inode " + std::to_string(base.inode_number);
    const Result<LowerId> id = layer.find_by_number(base.inode_number);
    if (!id.ok()) return failure_from(id.error(), what);
    Result<std::string> lower_path = layer.path_of(*id);
    if (!lower_path.ok()) return failure_from(lower_path.error(), what);
    return BaseFile{&layer, *id, std::move(lower_path).value()};
  }
  VARVE_ASSIGN(const LowerId id, find_in_layer(layer, base.path));
  const Result<std::uint64_t> number = layer.inode_number(id);
  if (!number.ok()) return failure_from(number.error(), layer.name() + ": " + base.path);
  if (*number != base.inode_number) {
    return Failure{EIO, shown(path) + ": copied up from " + layer.name() + ": " + base.path +
                            ", where another file lies now (the layer was changed)"};
  }
  return BaseFile{&layer, id, base.path};
}

ResultOrFailure<std::unique_ptr<layer::LowerFile>> UpperSource::open_base(const upper::Base& base,
                                                                          const std::string& path) const {
  VARVE_ASSIGN(const BaseFile found, find_base(base, path));
  Result<std::unique_ptr<layer::LowerFile>> file = found.layer->open_file(found.id);
  if (!file.ok()) return failure_from(file.error(), found.layer->name() + ": " + found.path);
  return std::move(file).value();
}

ResultOrFailure<std::optional<DeltaBase>> UpperSource::delta_base(const upper::UpperEntry& entry,
                                                                  const std::string& path) const {
  if (options_.parents == nullptr || !entry.marks.base || entry.attributes.size_bytes == 0) {
    return std::optional<DeltaBase>();
  }
  VARVE_ASSIGN(const BaseFile found, find_base(*entry.marks.base, path));
  const auto parent = options_.parents->in_layer(*found.layer, found.id);
  if (!parent) return std::optional<DeltaBase>();
  return std::optional(options_.parents->base(*parent, found.path));
}

StatusOrFailure UpperSource::take_content(const ContentFile& file, std::uint64_t size_bytes,
                                          const ContentConsumer& take) {
  const std::size_t slash = file.path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : file.path.substr(0, slash);
  const std::string name = slash == std::string::npos ? file.path : file.path.substr(slash + 1);
  const Result<UniqueFd> directory = layer::open_beneath(store_->root_fd(), parent, O_PATH | O_DIRECTORY);
  if (!directory.ok()) return failure_from(directory.error(), shown(parent));
  const upper::ObjectRef object{directory->get(), name};
  const Result<upper::UpperEntry> entry = store_->look_up(object);
  if (!entry.ok()) return failure_from(entry.error(), shown(file.path));
  std::unique_ptr<layer::LowerFile> base;
  if (entry->marks.base) {
    VARVE_ASSIGN(base, open_base(*entry->marks.base, file.path));
  }
  const layer::LowerFile* const below = base.get();  // of the CowFile's from now on
  const Result<std::unique_ptr<upper::CowFile>> cow =
      upper::CowFile::open(*store_, object, entry->marks, std::move(base));
  if (!cow.ok()) return failure_from(cow.error(), shown(file.path));
  CowContent content(**cow,
                     {.size_bytes = size_bytes,
                      .base = inheriting_.contains(file.node) ? below : nullptr,
                      .path = shown(file.path)},
                     monitor_);
  return take(file.node, content);
}

StatusOrFailure UpperSource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  for (ContentFile file : files_in_layer_order(tree, large_bytes_)) {
    if (const auto known = paths_.find(file.node); known != paths_.end()) file.path = known->second;
    VARVE_RETURN_IF_ERROR(take_content(file, tree.size_bytes(file.node), take));
  }
  return {};
}

StatusOrFailure UpperSource::close() {
  const Status closed = store_->close();
  if (!closed.ok()) return failure_from(closed.error(), options_.upper_path + ": closing it");
  return {};
}

}  // namespace varve::image
