#include "imagetool/image/store/build_cache.h"

#include <dirent.h>
#include <unistd.h>

#include <limits>
#include <memory>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/json_text.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kEntryLimitBytes = 64 << 10;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

std::optional<CachedStep> BuildCache::read(const std::string& name) const {
  const Result<std::string> text = read_small_file(directory_ + "/" + name, kEntryLimitBytes);
  if (!text.ok()) return std::nullopt;
  const auto json = parse_json_object(*text);
  if (!json.ok()) return std::nullopt;
  JsonReader reader(*json, name);
  CachedStep step;
  reader.read("created", step.created);
  if (const Json* layer = reader.object("layer")) {
    JsonReader layer_reader(*layer, name);
    std::string digest_text;
    std::uint64_t size_bytes = 0;
    layer_reader.read("digest", digest_text);
    layer_reader.read("size", size_bytes, std::numeric_limits<std::int64_t>::max());
    std::map<std::string, std::string> annotations;
    layer_reader.read("annotations", annotations);
    const Result<Digest> digest = Digest::parse(digest_text);
    if (!layer_reader.status().ok() || !digest.ok()) return std::nullopt;
    step.layer = Descriptor{std::string(kLayerMediaType), *digest, size_bytes, std::move(annotations)};
  }
  if (!reader.status().ok()) return std::nullopt;
  return step;
}

std::optional<CachedStep> BuildCache::find(const Digest& key, const Store& store) const {
  std::optional<CachedStep> step = read(std::string(key.hex()));
  return !step || !step->layer || store.has_blob(*step->layer) ? step : std::nullopt;
}

StatusOrFailure BuildCache::put(const Digest& key, const CachedStep& step) const {
  Json entry = {{"created", step.created}};
  if (step.layer) {
    entry["layer"] = {{"digest", step.layer->digest.text()},
                      {"size", step.layer->size_bytes},
                      {"annotations", step.layer->annotations}};
  }
  if (const Status made = make_directories(directory_, 0755); !made.ok()) {
    return failure_from(made.error(), directory_);
  }
  const std::string path = directory_ + "/" + std::string(key.hex());
  // A broken entry is as good as none, so none is waited for.
  const Status written = write_file_atomically(path, json_text(entry) + "\n", 0644, Durability::kUntilReboot);
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

ResultOrFailure<std::vector<std::string>> BuildCache::names() const {
  std::vector<std::string> found;
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(directory_.c_str()));
  if (!directory) {
    if (errno == ENOENT) return found;
    return failure_from(Errno::last(), directory_);
  }
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name.front() != '.') found.emplace_back(name);
  }
  if (errno != 0) return failure_from(Errno::last(), directory_);
  return found;
}

ResultOrFailure<std::vector<Digest>> BuildCache::layers() const {
  std::vector<Digest> found;
  VARVE_ASSIGN(const std::vector<std::string> entries, names());
  for (const std::string& name : entries) {
    if (const auto step = read(name); step && step->layer) found.push_back(step->layer->digest);
  }
  return found;
}

StatusOrFailure BuildCache::forget_absent(const Store& store) const {
  VARVE_ASSIGN(const std::vector<std::string> entries, names());
  for (const std::string& name : entries) {
    const auto step = read(name);
    if (step && (!step->layer || store.has_blob(*step->layer))) continue;
    const std::string path = directory_ + "/" + name;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failure_from(Errno::last(), path);
  }
  return {};
}

StatusOrFailure BuildCache::clear() const {
  if (const Status removed = remove_tree(directory_); !removed.ok()) {
    return failure_from(removed.error(), directory_);
  }
  return {};
}

}  // namespace varve::image
