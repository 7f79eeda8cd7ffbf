#include "imagetool/image/store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/platform.h"
#include "imagetool/image/store/store_index.h"

namespace varve::image {
namespace {

constexpr std::string_view kLayoutText = "{\"imageLayoutVersion\":\"1.0.0\"}\n";
constexpr std::uint64_t kMetadataLimitBytes = 16 << 20;  // of one manifest or configuration
constexpr int kMostIndexDepth = 4;

Failure at(const std::string& path, const Errno& error) {
  return failure_from(error, path);
}

// Takes `kind` (LOCK_SH or LOCK_EX) on `path`, which is created when absent.
Result<UniqueFd> lock_file(const std::string& path, int kind) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.valid()) return Errno::last();
  while (::flock(file.get(), kind) != 0) {
    if (errno != EINTR) return Errno::last();
  }
  return file;
}

bool is_tag_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-';
}

}  // namespace

std::string default_store_path() {
  if (const char* store = std::getenv("VARVE_STORE"); store && *store) return store;
  if (::geteuid() == 0) return "/var/lib/varve";
  if (const char* data = std::getenv("XDG_DATA_HOME"); data && *data == '/')
    return std::string(data) + "/varve";
  const char* home = std::getenv("HOME");
  return std::string(home && *home ? home : "/tmp") + "/.local/share/varve";
}

ResultOrFailure<ImageName> parse_image_name(std::string_view text) {
  const std::string quoted = "\"" + std::string(text) + "\"";
  const std::size_t slash = text.find_last_of('/');
  const std::size_t colon = text.find(':', slash == std::string_view::npos ? 0 : slash);
  ImageName name{std::string(text.substr(0, colon)),
                 colon == std::string_view::npos ? "latest" : std::string(text.substr(colon + 1))};
  const auto is_name_character = [](char c) { return is_tag_character(c) || c == '/' || c == ':'; };
  const bool good_repository = !name.repository.empty() && name.repository.size() <= 255 &&
                               name.repository.front() != '/' && name.repository.back() != '/' &&
                               name.repository.front() != '.' && name.repository.front() != '-' &&
                               std::all_of(name.repository.begin(), name.repository.end(), is_name_character);
  if (!good_repository) {
    return Failure{EINVAL,
                   quoted + " is no image name (use letters, digits and '_', '.', '-', '/', then :TAG)"};
  }
  if (name.tag.empty() || name.tag.size() > 128 ||
      !std::all_of(name.tag.begin(), name.tag.end(), is_tag_character)) {
    return Failure{EINVAL, quoted + " has no usable tag after ':' (use letters, digits, '_', '.', '-')"};
  }
  if (name.repository == "sha256")
    return Failure{EINVAL, quoted + " looks like a digest (choose another name)"};
  return name;
}

ResultOrFailure<Store> Store::open(std::string directory) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (directory.empty()) return Failure{EINVAL, "the image store has no path (give --store DIR)"};
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) {
    if (errno != ENOENT) return failure_from(Errno::last(), directory);
    return Store(std::move(directory));
  }
  if (!S_ISDIR(status.st_mode)) return Failure{ENOTDIR, directory + ": not a directory (give --store DIR)"};
  const Result<std::string> layout = read_small_file(directory + "/oci-layout", kMetadataLimitBytes);
  if (layout.ok()) {
    VARVE_RETURN_IF_ERROR(check_layout_version(*layout, directory + "/oci-layout"));
  } else if (layout.error().value != ENOENT) {
    return failure_from(layout.error(), directory + "/oci-layout");
  }
  return Store(std::move(directory));
}

Store::Store(Store&& other) noexcept : directory_(std::move(other.directory_)) {
  MutexLock lock(other.mutex_);
  in_use_ = std::move(other.in_use_);
}
Store::~Store() = default;

std::string Store::blob_path(const Digest& digest) const {
  return directory_ + "/blobs/sha256/" + std::string(digest.hex());
}

// A directory that holds foreign things is never turned into a store.
StatusOrFailure Store::prepare_for_writing() {
  MutexLock lock(mutex_);
  if (in_use_.valid()) return {};
  const std::string blobs = directory_ + "/blobs/sha256";
  const std::string layout_path = directory_ + "/oci-layout";
  if (::access(layout_path.c_str(), F_OK) != 0) {
    VARVE_RETURN_IF_ERROR(check_can_become_store(directory_));
  }
  if (const Status made = make_directories(blobs, 0755); !made.ok()) return at(blobs, made.error());
  const std::string lock_path = directory_ + "/store.lock";
  Result<UniqueFd> in_use = lock_file(lock_path, LOCK_SH);
  if (!in_use.ok()) return at(lock_path, in_use.error());
  if (::access(layout_path.c_str(), F_OK) != 0) {
    const Status written = write_file_atomically(layout_path, kLayoutText, 0644);
    if (!written.ok()) return at(layout_path, written.error());
  }
  in_use_ = std::move(in_use).value();
  return {};
}

ResultOrFailure<std::string> Store::scratch_directory() {
  VARVE_RETURN_IF_ERROR(prepare_for_writing());
  const std::string path = directory_ + "/tmp";
  if (const Status made = make_directories(path, 0700); !made.ok()) return at(path, made.error());
  return path;
}

ResultOrFailure<Descriptor> Store::put_blob(std::string_view media_type, std::string_view bytes) {
  VARVE_RETURN_IF_ERROR(prepare_for_writing());
  Descriptor descriptor{std::string(media_type), Digest::of(bytes), bytes.size()};
  const std::string path = blob_path(descriptor.digest);
  if (read_blob(descriptor.digest, bytes.size()).ok()) return descriptor;
  const Status written = write_file_atomically(path, bytes, 0444);
  if (!written.ok()) return at(path, written.error());
  return descriptor;
}

ResultOrFailure<Descriptor> Store::adopt_file(std::string_view media_type, const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return at(path, Errno::last());
  Result<DigestAndSize> hashed = digest_of_file(file.get());
  if (!hashed.ok()) return at(path, hashed.error());
  Descriptor descriptor{std::string(media_type), hashed->digest, hashed->size_bytes};
  VARVE_RETURN_IF_ERROR(adopt_checked(descriptor, path));
  return descriptor;
}

StatusOrFailure Store::adopt_checked(const Descriptor& descriptor, const std::string& path) {
  VARVE_RETURN_IF_ERROR(prepare_for_writing());
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return at(path, Errno::last());
  if (::fchmod(file.get(), 0444) != 0) return at(path, Errno::last());
  if (::fsync(file.get()) != 0) return at(path, Errno::last());
  const std::string to = blob_path(descriptor.digest);
  if (::rename(path.c_str(), to.c_str()) != 0) return at(to, Errno::last());
  if (const Status synced = sync_parent_directory(to); !synced.ok()) return at(to, synced.error());
  return {};
}

bool Store::has_blob(const Descriptor& descriptor) const {
  struct stat status {};
  return ::stat(blob_path(descriptor.digest).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == descriptor.size_bytes;
}

Result<std::string> Store::read_blob(const Digest& digest, std::uint64_t limit_bytes) const {
  VARVE_ASSIGN(std::string bytes, read_small_file(blob_path(digest), limit_bytes));
  if (Digest::of(bytes) != digest) return Errno{EBADMSG};
  return bytes;
}

ResultOrFailure<std::vector<IndexEntry>> Store::read_index() const {
  const std::string path = directory_ + "/index.json";
  const Result<std::string> text = read_small_file(path, kMetadataLimitBytes);
  if (!text.ok()) {
    if (text.error().value == ENOENT) return std::vector<IndexEntry>{};
    return at(path, text.error());
  }
  return parse_index(*text, path);
}

ResultOrFailure<IndexEntry> Store::find(std::string_view reference) const {
  VARVE_ASSIGN(const std::vector<IndexEntry> entries, read_index());
  const auto missing = [&] {
    return Failure{ENOENT, std::string(reference) + ": no such image in " + directory_ +
                               " (`imagetool images` lists them, `imagetool import` makes one)"};
  };
  if (const Result<Digest> digest = Digest::parse(reference); digest.ok()) {
    for (const IndexEntry& entry : entries) {
      if (entry.digest == *digest) return entry;
    }
    // Nameless, but still there: what a container was started from, say.
    struct stat status {};
    if (::stat(blob_path(*digest).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return missing();
    return IndexEntry{std::string(kManifestMediaType), *digest, static_cast<std::uint64_t>(status.st_size),
                      "", ""};
  }
  if (const auto name = parse_image_name(reference); name.ok()) {
    // The last one holds: that is what a tool that only appends means by it.
    const auto found = std::find_if(entries.rbegin(), entries.rend(),
                                    [&](const IndexEntry& entry) { return entry.name == name->text(); });
    if (found != entries.rend()) return *found;
  }
  std::optional<IndexEntry> match;
  for (const IndexEntry& entry : entries) {
    if (reference.size() < 12 || !entry.digest.hex().starts_with(reference)) continue;
    if (match && match->digest != entry.digest) {
      return Failure{EINVAL, std::string(reference) + ": more than one image begins so (give more digits)"};
    }
    match = entry;
  }
  if (!match) return missing();
  return *match;
}

ResultOrFailure<std::string> Store::read_part(const Digest& digest, const std::string& owner,
                                              const char* what) const {
  Result<std::string> bytes = read_blob(digest, kMetadataLimitBytes);
  if (bytes.ok()) return std::move(bytes).value();
  const std::string context = owner + ": its " + what + " " + blob_path(digest);
  if (bytes.error().value == ENOENT)
    return Failure{ENOENT, context + " is missing (import or copy the image again)"};
  if (bytes.error().value == EBADMSG)
    return Failure{EBADMSG, context + " is damaged: other bytes than its digest says"};
  return failure_from(bytes.error(), context);
}

ResultOrFailure<Image> Store::load(const IndexEntry& entry) const {
  const std::string name = entry.name.empty() ? entry.digest.text() : entry.name;
  Descriptor chosen{entry.media_type, entry.digest, entry.size_bytes};
  for (int depth = 0; chosen.media_type == kIndexMediaType || chosen.media_type == kDockerIndexMediaType;
       ++depth) {
    if (depth == kMostIndexDepth) return Failure{EINVAL, name + ": indexes within indexes without an end"};
    VARVE_ASSIGN(const std::string index, read_part(chosen.digest, name, "index"));
    VARVE_ASSIGN(chosen, choose_manifest(index, host_platform(), name));
  }
  VARVE_ASSIGN(const std::string manifest_text, read_part(chosen.digest, name, "manifest"));
  VARVE_ASSIGN(Manifest manifest, parse_manifest(manifest_text, name));
  VARVE_ASSIGN(const std::string config_text, read_part(manifest.config.digest, name, "configuration"));
  auto config = parse_image_config(config_text);
  if (!config.ok()) return Failure{EINVAL, name + ": " + config.error().message};

  Image image{
      entry.name, chosen.digest, manifest.config, std::move(config).value(), std::move(manifest.layers), {}};
  for (const Descriptor& layer : image.layers) {
    if (layer.media_type != kLayerMediaType) {
      return Failure{ENOTSUP, name + ": layer " + layer.digest.short_hex() + " is of type " +
                                  layer.media_type + ", not " + std::string(kLayerMediaType) +
                                  " (`imagetool import " + directory_ + ":" + name + "` makes it so)"};
    }
    image.layer_paths.push_back(blob_path(layer.digest));
  }
  return image;
}

StatusOrFailure Store::check_layers(const Image& image) const {
  const std::string name = image.name.empty() ? image.digest.text() : image.name;
  const std::string what_to_do = " (`imagetool verify " + name + "` says what to do)";
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    const std::string& path = image.layer_paths[i];
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      const Errno error = Errno::last();
      return Failure{error.value, name + ": layer " + path + ": " + std::strerror(error.value) + what_to_do};
    }
    if (!S_ISREG(status.st_mode) ||
        static_cast<std::uint64_t>(status.st_size) != image.layers[i].size_bytes) {
      return Failure{EBADMSG, name + ": layer " + path +
                                  " has another size than the manifest says: it is damaged" + what_to_do};
    }
  }
  return {};
}

ResultOrFailure<Image> Store::resolve(std::string_view reference) const {
  VARVE_ASSIGN(Image image, read_image(reference));
  VARVE_RETURN_IF_ERROR(check_layers(image));
  return image;
}

ResultOrFailure<Image> Store::read_image(std::string_view reference) const {
  VARVE_ASSIGN(const IndexEntry entry, find(reference));
  return load(entry);
}

ResultOrFailure<std::vector<ListedImage>> Store::list() const {
  VARVE_ASSIGN(const std::vector<IndexEntry> entries, read_index());
  std::vector<ListedImage> images;
  for (const IndexEntry& entry : entries) images.push_back({entry.name, entry.digest, entry.source});
  std::stable_sort(images.begin(), images.end(),
                   [](const ListedImage& a, const ListedImage& b) { return a.name < b.name; });
  return images;
}

ResultOrFailure<Image> Store::put_image(const ImageName& name, ImageConfig config,
                                        const std::vector<Descriptor>& layers) {
  config.diff_ids.resize(std::min(config.diff_ids.size(), layers.size()));
  for (std::size_t i = config.diff_ids.size(); i < layers.size(); ++i)
    config.diff_ids.push_back(layers[i].digest.text());
  VARVE_ASSIGN(const Descriptor config_descriptor, put_blob(kConfigMediaType, image_config_to_json(config)));
  return put_manifest(name, manifest_to_json(Manifest{config_descriptor, layers}));
}

ResultOrFailure<Image> Store::put_manifest(const ImageName& name, std::string_view manifest) {
  VARVE_ASSIGN(const Descriptor manifest_descriptor, put_blob(kManifestMediaType, manifest));
  const IndexEntry entry{manifest_descriptor.media_type, manifest_descriptor.digest,
                         manifest_descriptor.size_bytes, name.text(), ""};
  VARVE_RETURN_IF_ERROR(change_index(
      [&](std::string& text, const std::string& path) { return set_name_in_index(text, entry, path); }));
  VARVE_ASSIGN(Image image, load(entry));
  VARVE_RETURN_IF_ERROR(check_layers(image));
  return image;
}

StatusOrFailure Store::note_source(const ImageName& name, const std::string& source) {
  VARVE_ASSIGN(IndexEntry entry, find(name.text()));
  entry.source = source;
  return change_index(
      [&](std::string& text, const std::string& path) { return set_name_in_index(text, entry, path); });
}

ResultOrFailure<IndexEntry> Store::tag(std::string_view reference, const ImageName& new_name) {
  VARVE_RETURN_IF_ERROR(prepare_for_writing());  // first: from here on gc() of others waits
  VARVE_ASSIGN(IndexEntry entry, find(reference));
  entry.name = new_name.text();
  VARVE_RETURN_IF_ERROR(change_index(
      [&](std::string& text, const std::string& path) { return set_name_in_index(text, entry, path); }));
  return entry;
}

ResultOrFailure<IndexEntry> Store::remove(std::string_view reference) {
  VARVE_ASSIGN(IndexEntry entry, find(reference));
  const auto name = parse_image_name(reference);
  const bool by_name = name.ok() && name->text() == entry.name;
  VARVE_RETURN_IF_ERROR(change_index([&](std::string& text, const std::string& path) {
    return remove_from_index(text, by_name ? std::optional(entry.name) : std::nullopt, entry.digest, path);
  }));
  if (!by_name) entry.name.clear();
  return entry;
}

StatusOrFailure Store::change_index(const IndexChange& change) {
  VARVE_RETURN_IF_ERROR(prepare_for_writing());
  const std::string lock_path = directory_ + "/index.lock";
  const Result<UniqueFd> lock = lock_file(lock_path, LOCK_EX);
  if (!lock.ok()) return at(lock_path, lock.error());
  const std::string path = directory_ + "/index.json";
  Result<std::string> text = read_small_file(path, kMetadataLimitBytes);
  if (!text.ok() && text.error().value != ENOENT) return at(path, text.error());
  std::string changed = text.ok() ? std::move(text).value() : std::string(kEmptyIndex);
  VARVE_RETURN_IF_ERROR(change(changed, path));
  const Status written = write_file_atomically(path, changed, 0644);
  if (!written.ok()) return at(path, written.error());
  return {};
}

}  // namespace varve::image
