#include "imagetool/image/store/store_index.h"

#include <dirent.h>

#include <array>
#include <memory>

#include "imagetool/image/store/json_text.h"

namespace varve::image {
namespace {

constexpr const char* kNameAnnotation = "org.opencontainers.image.ref.name";
constexpr const char* kSourceAnnotation = "org.varve.image.source";
constexpr std::string_view kLayerAnnotations = "org.varve.layer.";
constexpr std::uint64_t kMaxBlobBytes = std::uint64_t{1} << 62;

ResultOrFailure<Json> parse(std::string_view text, const std::string& where) {
  auto json = parse_json_object(text);
  if (!json.ok()) return Failure{EINVAL, where + ": " + json.error().message};
  return json;
}

Json to_json(const Descriptor& descriptor) {
  Json json = {{"mediaType", descriptor.media_type},
               {"digest", descriptor.digest.text()},
               {"size", descriptor.size_bytes}};
  if (!descriptor.annotations.empty()) json["annotations"] = descriptor.annotations;
  return json;
}

std::string annotation_of(const Json& entry, const char* key) {
  if (!entry.is_object()) return {};
  const auto annotations = entry.find("annotations");
  if (annotations == entry.end() || !annotations->is_object()) return {};
  const auto found = annotations->find(key);
  return found != annotations->end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string name_of(const Json& entry) {
  return annotation_of(entry, kNameAnnotation);
}

bool has_digest(const Json& entry, const Digest& digest) {
  return entry.is_object() && entry.contains("digest") && entry["digest"] == digest.text();
}

ResultOrFailure<Json> parse_index_json(std::string_view text, const std::string& path) {
  VARVE_ASSIGN(Json index, parse(text, path));
  if (!index.contains("manifests")) index["manifests"] = Json::array();
  if (!index["manifests"].is_array()) return json_failure(path + ": field \"manifests\" is not an array");
  return index;
}

}  // namespace

StatusOrFailure check_layout_version(std::string_view text, const std::string& path) {
  VARVE_ASSIGN(const Json layout, parse(text, path));
  JsonReader reader(layout, path);
  std::string version;
  reader.read("imageLayoutVersion", version);
  VARVE_RETURN_IF_ERROR(reader.status());
  if (!version.starts_with("1.")) {
    return Failure{ENOTSUP, path + ": image layout version \"" + version + "\" is not supported (1.x is)"};
  }
  return {};
}

StatusOrFailure check_can_become_store(const std::string& directory) {
  struct CloseDirectory {
    void operator()(DIR* open) const { ::closedir(open); }
  };
  const std::unique_ptr<DIR, CloseDirectory> open(::opendir(directory.c_str()));
  if (!open) {
    if (errno == ENOENT) return {};
    return failure_from(Errno::last(), directory);
  }
  constexpr std::array<std::string_view, 10> kOurs = {".",          "..",        "blobs",   "tmp",
                                                      "containers", "volumes",   "damaged", "store.lock",
                                                      "index.lock", "lost+found"};
  while (const dirent* entry = ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    // Another process may be making the store at this moment.
    bool ours = name.starts_with("oci-layout") || name.starts_with("index.json");
    for (const std::string_view known : kOurs) ours = ours || name == known;
    if (!ours) {
      return Failure{EEXIST, directory + ": not an image store, and not empty: it holds \"" + entry->d_name +
                                 "\" (give an empty or new directory)"};
    }
  }
  return {};
}

ResultOrFailure<std::vector<IndexEntry>> parse_index(std::string_view text, const std::string& path) {
  VARVE_ASSIGN(const Json index, parse_index_json(text, path));
  std::vector<IndexEntry> entries;
  for (const Json& item : index["manifests"]) {
    VARVE_ASSIGN(const Descriptor descriptor, parse_descriptor(item, path + ", manifests"));
    entries.push_back({descriptor.media_type, descriptor.digest, descriptor.size_bytes, name_of(item),
                       annotation_of(item, kSourceAnnotation)});
  }
  return entries;
}

StatusOrFailure set_name_in_index(std::string& text, const IndexEntry& entry, const std::string& path) {
  VARVE_ASSIGN(Json index, parse_index_json(text, path));
  Json kept = Json::array();
  for (const Json& item : index["manifests"]) {
    // An entry without a name, left by other tools, becomes this name's.
    const bool unnamed = name_of(item).empty() && has_digest(item, entry.digest);
    if (name_of(item) != entry.name && !unnamed) kept.push_back(item);
  }
  Json item = to_json(Descriptor{entry.media_type, entry.digest, entry.size_bytes});
  item["annotations"] = {{kNameAnnotation, entry.name}};
  if (!entry.source.empty()) item["annotations"][kSourceAnnotation] = entry.source;
  kept.push_back(std::move(item));
  index["manifests"] = std::move(kept);
  text = json_text(index);
  return {};
}

StatusOrFailure remove_from_index(std::string& text, const std::optional<std::string>& name,
                                  const Digest& digest, const std::string& path) {
  VARVE_ASSIGN(Json index, parse_index_json(text, path));
  Json kept = Json::array();
  for (const Json& item : index["manifests"]) {
    const bool gone = name ? name_of(item) == *name : has_digest(item, digest);
    if (!gone) kept.push_back(item);
  }
  index["manifests"] = std::move(kept);
  text = json_text(index);
  return {};
}

ResultOrFailure<Descriptor> parse_descriptor(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  std::string media_type;
  std::string digest_text;
  std::uint64_t size_bytes = 0;
  reader.read("mediaType", media_type);
  reader.read("digest", digest_text);
  reader.read("size", size_bytes, kMaxBlobBytes);
  const Result<Digest> digest = Digest::parse(digest_text);
  reader.check("digest", digest.ok(), "\"sha256:\" and 64 hexadecimal digits");
  VARVE_RETURN_IF_ERROR(reader.status());
  Descriptor descriptor{std::move(media_type), *digest, size_bytes};
  if (const auto annotations = json.find("annotations");
      annotations != json.end() && annotations->is_object()) {
    for (const auto& [key, value] : annotations->items()) {
      if (key.starts_with(kLayerAnnotations) && value.is_string())
        descriptor.annotations[key] = value.get<std::string>();
    }
  }
  return descriptor;
}

ResultOrFailure<Manifest> parse_manifest(std::string_view text, const std::string& where) {
  VARVE_ASSIGN(const Json json, parse(text, where + ": manifest"));
  JsonReader reader(json, where + ": manifest");
  const Json* config = reader.object("config");
  reader.check("config", config != nullptr, "a descriptor");
  const Json* layers = reader.array("layers");
  reader.check("layers", layers != nullptr, "an array");
  VARVE_RETURN_IF_ERROR(reader.status());
  VARVE_ASSIGN(Descriptor config_descriptor, parse_descriptor(*config, where + ": manifest, config"));
  Manifest manifest{std::move(config_descriptor), {}};
  for (const Json& layer : *layers) {
    VARVE_ASSIGN(Descriptor descriptor, parse_descriptor(layer, where + ": manifest, layers"));
    manifest.layers.push_back(std::move(descriptor));
  }
  return manifest;
}

std::string manifest_to_json(const Manifest& manifest) {
  Json layers = Json::array();
  for (const Descriptor& layer : manifest.layers) layers.push_back(to_json(layer));
  return json_text(Json{{"schemaVersion", 2},
                        {"mediaType", std::string(kManifestMediaType)},
                        {"config", to_json(manifest.config)},
                        {"layers", std::move(layers)}});
}

ResultOrFailure<std::vector<Descriptor>> descriptors_in(std::string_view text, const std::string& where) {
  VARVE_ASSIGN(const Json json, parse(text, where));
  std::vector<Descriptor> found;
  for (const char* key : {"manifests", "layers", "blobs"}) {
    if (!json.contains(key) || !json[key].is_array()) continue;
    for (const Json& item : json[key]) {
      VARVE_ASSIGN(Descriptor descriptor, parse_descriptor(item, where));
      found.push_back(std::move(descriptor));
    }
  }
  for (const char* key : {"config", "subject"}) {
    if (!json.contains(key) || !json[key].is_object()) continue;
    VARVE_ASSIGN(Descriptor descriptor, parse_descriptor(json[key], where));
    found.push_back(std::move(descriptor));
  }
  return found;
}

}  // namespace varve::image
