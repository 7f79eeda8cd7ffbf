#include "imagetool/image/source/tar_source.h"

#include <archive.h>
#include <archive_entry.h>

#include "fs/base/name.h"
#include "fs/layer/hidden_names.h"
#include "imagetool/image/source/tar_input.h"
#include "imagetool/image/source/union_marks.h"
#include "imagetool/image/tar_entry.h"

namespace varve::image {
namespace {

constexpr std::size_t kMaxPathBytes = 32 * 1024;

InodeSpec default_directory() {
  InodeSpec spec;
  spec.attributes.mode = S_IFDIR | 0755;
  return spec;
}

// The data of the member that the reader stands at.
class TarContent : public ContentSource {
 public:
  TarContent(archive* reader, const TarInput& input, Monitor& monitor)
      : reader_(reader), input_(input), monitor_(monitor) {}
  ResultOrFailure<std::optional<Chunk>> next() override {
    for (;;) {
      if (monitor_.cancelled()) return cancelled_failure();
      const void* bytes = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int result = archive_read_data_block(reader_, &bytes, &size, &offset);
      if (result == ARCHIVE_EOF) return std::optional<Chunk>{};
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_.failure(reader_);
      if (size == 0) continue;  // a hole at the end of a sparse file
      monitor_.advance(size);
      return std::optional<Chunk>{
          Chunk{static_cast<std::uint64_t>(offset), std::span(static_cast<const std::byte*>(bytes), size)}};
    }
  }

 private:
  archive* reader_;
  const TarInput& input_;
  Monitor& monitor_;
};

}  // namespace

// The first pass: members become a tree.
class TarSource::Scan {
 public:
  Scan(const TarInput& input, const PathFilter& filter, Monitor& monitor)
      : input_(input), filter_(filter), monitor_(monitor) {}

  StatusOrFailure add(archive_entry* entry, std::uint64_t key);
  Tree take() && { return std::move(tree_); }

 private:
  struct Place {
    TreeIndex directory = kTreeRoot;
    std::string name;  // empty: the root itself
    bool excluded = false;
  };
  Failure refuse(std::string_view path, const std::string& why) const {
    return Failure{EINVAL, input_.name() + ": member \"" + std::string(path) + "\": " + why};
  }
  ResultOrFailure<std::vector<std::string>> components_of(std::string_view path);
  ResultOrFailure<Place> find_place(std::string_view path);
  ResultOrFailure<TreeIndex> enter(TreeIndex directory, const std::string& name, std::string_view path);
  StatusOrFailure add_hard_link(const Place& place, std::string_view path, std::string_view target);
  ResultOrFailure<bool> add_aufs_mark(const Place& place, std::string_view path);
  StatusOrFailure add_object(const Place& place, std::string_view path, InodeSpec spec, std::uint64_t key);

  const TarInput& input_;
  const PathFilter& filter_;
  Monitor& monitor_;
  Tree tree_{default_directory()};
  bool warned_of_slash_ = false;
};

ResultOrFailure<std::vector<std::string>> TarSource::Scan::components_of(std::string_view path) {
  if (path.size() > kMaxPathBytes) return refuse(path.substr(0, 80), "its path is too long");
  if (path.starts_with('/') && !warned_of_slash_) {
    warned_of_slash_ = true;
    monitor_.warn(input_.name() + ": removing the leading '/' of member names");
  }
  std::vector<std::string> components;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, slash - at);
    at = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse(path, "\"..\" in its path (the archive may be hostile; pack it again)");
    if (part.size() > Name::kMaxSize) return refuse(path, "a name in its path is longer than 255 bytes");
    components.emplace_back(part);
  }
  return components;
}

// The directory `name` of `directory`, made when the archive has not named it (yet).
ResultOrFailure<TreeIndex> TarSource::Scan::enter(TreeIndex directory, const std::string& name,
                                                  std::string_view path) {
  const TreeIndex* known = tree_.find(directory, name);
  if (known != nullptr && *known != kWhiteoutNode) {
    if (tree_.is_directory(*known)) return *known;
    return refuse(path,
                  "\"" + name + "\" in its path is a file or link in the same archive, not a directory");
  }
  const TreeIndex made = tree_.add(default_directory());
  put_object(tree_, directory, name, made);
  return made;
}

ResultOrFailure<TarSource::Scan::Place> TarSource::Scan::find_place(std::string_view path) {
  VARVE_ASSIGN(const std::vector<std::string> components, components_of(path));
  Place place;
  std::string prefix;
  for (const std::string& component : components) {
    prefix = join_path(prefix, component);
    if (filter_.excludes(prefix)) {
      place.excluded = true;
      return place;
    }
  }
  for (std::size_t i = 0; i + 1 < components.size(); ++i) {
    VARVE_ASSIGN(place.directory, enter(place.directory, components[i], path));
  }
  if (!components.empty()) place.name = components.back();
  return place;
}

StatusOrFailure TarSource::Scan::add_hard_link(const Place& place, std::string_view path,
                                               std::string_view target) {
  VARVE_ASSIGN(const std::vector<std::string> components, components_of(target));
  TreeIndex found = kTreeRoot;
  for (const std::string& component : components) {
    const TreeIndex* next = tree_.is_directory(found) ? tree_.find(found, component) : nullptr;
    if (next == nullptr || *next == kWhiteoutNode) {
      return refuse(path,
                    "a hard link to \"" + std::string(target) + "\", which is not in the archive before it");
    }
    found = *next;
  }
  if (tree_.is_directory(found))
    return refuse(path, "a hard link to a directory, \"" + std::string(target) + "\"");
  if (place.name.empty()) return refuse(path, "the root cannot be a hard link");
  put_object(tree_, place.directory, place.name, found);
  return {};
}

// True when the member was a mark and is dealt with.
ResultOrFailure<bool> TarSource::Scan::add_aufs_mark(const Place& place, std::string_view path) {
  switch (classify_aufs_name(place.name)) {
    case AufsName::kOrdinary:
      return false;
    case AufsName::kBroken:
      return refuse(path, "a whiteout of nothing");
    case AufsName::kLeftover:
      monitor_.warn(input_.name() + ": \"" + std::string(path) + "\" is bookkeeping of AUFS, left out");
      return true;
    case AufsName::kOpaque:
      tree_.set_opaque(place.directory);
      return true;
    case AufsName::kWhiteout:
      put_whiteout(tree_, place.directory,
                   std::string_view(place.name).substr(layer::kWhiteoutPrefix.size()));
      return true;
  }
  return false;
}

StatusOrFailure TarSource::Scan::add_object(const Place& place, std::string_view path, InodeSpec spec,
                                            std::uint64_t key) {
  // Redirects of overlayfs are relative to what layers below call the parent, which only their own tree
  // tells; the parent's path in the archive is that unless the parent was moved too.
  const std::size_t slash = path.find_last_of('/', path.size() < 2 ? 0 : path.size() - 2);
  const std::string parent = slash == std::string_view::npos ? "/" : "/" + std::string(path.substr(0, slash));
  const StatusOrFailure marks = take_union_marks(spec, parent);
  if (!marks.ok()) return refuse(path, marks.error().message);
  const bool is_directory = spec.attributes.is_directory();
  if (place.name.empty()) {
    if (!is_directory) return refuse(path, "the root is not a directory");
    spec.opaque = spec.opaque || tree_.node(kTreeRoot).spec.opaque;
    tree_.set_spec(kTreeRoot, std::move(spec));
    return {};
  }
  if (is_overlay_whiteout(spec.attributes)) {
    tree_.set_whiteout(place.directory, place.name);
    return {};
  }
  const TreeIndex* before = tree_.find(place.directory, place.name);
  if (is_directory && before != nullptr && tree_.is_directory(*before)) {
    spec.opaque = spec.opaque || tree_.node(*before).spec.opaque;
    tree_.set_spec(*before, std::move(spec));
    return {};
  }
  const TreeIndex node = tree_.add(std::move(spec));
  tree_.set_source_key(node, key);
  put_object(tree_, place.directory, place.name, node);
  return {};
}

StatusOrFailure TarSource::Scan::add(archive_entry* entry, std::uint64_t key) {
  const char* raw_path = archive_entry_pathname(entry);
  if (raw_path == nullptr || *raw_path == '\0') {
    return Failure{EINVAL, input_.name() + ": member " + std::to_string(key) + " has no usable name"};
  }
  const std::string path = raw_path;
  VARVE_ASSIGN(const Place place, find_place(path));
  if (place.excluded) return {};
  if (const char* target = archive_entry_hardlink(entry)) return add_hard_link(place, path, target);
  VARVE_ASSIGN(const bool was_mark, add_aufs_mark(place, path));
  if (was_mark) return {};
  constexpr la_int64_t kMaxId = 0xfffffffe;
  if (archive_entry_uid(entry) < 0 || archive_entry_uid(entry) > kMaxId || archive_entry_gid(entry) < 0 ||
      archive_entry_gid(entry) > kMaxId) {
    return refuse(path, "its owner or group is no number that Linux knows");
  }
  std::vector<std::string> losses;
  InodeSpec spec = spec_from_entry(entry, losses);
  for (const std::string& loss : losses) monitor_.warn(input_.name() + ": \"" + path + "\": " + loss);
  switch (spec.attributes.mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return add_object(place, path, std::move(spec), key);
    default:
      monitor_.warn(input_.name() + ": \"" + path + "\" is of a type that is not known, left out");
      return {};
  }
}

TarSource::TarSource(std::unique_ptr<TarInput> input, Options options, Monitor& monitor)
    : input_(std::move(input)), options_(std::move(options)), monitor_(monitor) {}
TarSource::~TarSource() = default;

ResultOrFailure<std::unique_ptr<TarSource>> TarSource::open(const std::string& path, Options options,
                                                            Monitor& monitor) {
  VARVE_ASSIGN(std::unique_ptr<TarInput> input, TarInput::open(path, options.spool_directory, monitor));
  return std::unique_ptr<TarSource>(new TarSource(std::move(input), std::move(options), monitor));
}

ResultOrFailure<Tree> TarSource::scan() {
  const Utf8Locale locale;
  VARVE_ASSIGN(const ArchivePtr reader, input_->start());
  Scan scan(*input_, options_.filter, monitor_);
  archive_entry* entry = nullptr;
  for (std::uint64_t key = 1;; ++key) {
    if (monitor_.cancelled()) return cancelled_failure();
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) break;
    if (result == ARCHIVE_RETRY) continue;
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_->failure(reader.get());
    if (result == ARCHIVE_WARN) {
      const char* why = archive_error_string(reader.get());
      monitor_.warn(input_->name() + ": member " + std::to_string(key) + ": " + (why ? why : "odd"));
    }
    VARVE_RETURN_IF_ERROR(scan.add(entry, key));
  }
  VARVE_RETURN_IF_ERROR(input_->drain());
  return std::move(scan).take();
}

StatusOrFailure TarSource::for_each_content(const Tree& tree, const ContentConsumer& take) {
  std::vector<TreeIndex> wanted;  // by member number; kWhiteoutNode: not wanted
  for (const ContentFile file : files_in_layer_order(tree, large_bytes_)) {
    const std::uint64_t key = tree.source_key(file.node);
    if (wanted.size() <= key) wanted.resize(key + 1, kWhiteoutNode);
    wanted[key] = file.node;
  }
  const Utf8Locale locale;
  VARVE_ASSIGN(const ArchivePtr reader, input_->start());
  archive_entry* entry = nullptr;
  for (std::uint64_t key = 1; key < wanted.size(); ++key) {
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_RETRY) continue;
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return input_->failure(reader.get());
    if (wanted[key] == kWhiteoutNode) continue;
    TarContent content(reader.get(), *input_, monitor_);
    VARVE_RETURN_IF_ERROR(take(wanted[key], content));
  }
  return {};
}

}  // namespace varve::image
