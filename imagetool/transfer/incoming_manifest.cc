#include "imagetool/transfer/incoming_manifest.h"

#include <algorithm>
#include <array>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/transfer/incoming_blob.h"

namespace varve::transfer {
namespace {

// Indexes that lead to indexes: image-spec allows it, nobody does more than two.
constexpr int kMostIndexDepth = 4;

constexpr std::array<std::string_view, 2> kIndexTypes = {image::kIndexMediaType,
                                                         image::kDockerIndexMediaType};
constexpr std::array<std::string_view, 2> kManifestTypes = {
    image::kManifestMediaType, "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::array<std::string_view, 2> kConfigTypes = {image::kConfigMediaType,
                                                          "application/vnd.docker.container.image.v1+json"};

template <std::size_t kCount>
bool is_one_of(const std::array<std::string_view, kCount>& types, std::string_view type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

// A media type as it may stand in a message.
std::string shown(std::string_view media_type) {
  constexpr std::size_t kMostShown = 100;
  std::string text(media_type.substr(0, kMostShown));
  for (char& c : text) {
    if (c <= ' ' || c > '~') c = '?';
  }
  return "\"" + text + "\"";
}

enum class TextKind : std::uint8_t { kManifest, kIndex };

// What the text says it is holds; of one that does not say, what its place calls it. A text that can be read both ways is refused:
// who checks it and who uses it might see two images (CVE-2021-41190).
ResultOrFailure<TextKind> kind_of(const transport::ManifestText& text, const std::string& where) {
  auto json = image::parse_json_object(text.bytes);
  if (!json.ok()) return Failure{EINVAL, where + ": manifest: " + json.error().message};
  image::JsonReader reader(*json, where + ": manifest");
  std::string own_type;
  reader.read("mediaType", own_type);
  VARVE_RETURN_IF_ERROR(reader.status());
  const bool looks_like_index = json->contains("manifests");
  const bool looks_like_manifest = json->contains("layers") || json->contains("config");
  if (looks_like_index && looks_like_manifest) {
    return Failure{EINVAL, where + ": its manifest is an index at the same time (the place may be hostile)"};
  }
  if (json->contains("fsLayers")) {
    return Failure{
        ENOTSUP, where + ": an image of Docker's first format, schema 1 (push it again with a newer Docker)"};
  }
  const bool place_knows =
      is_one_of(kIndexTypes, text.media_type) || is_one_of(kManifestTypes, text.media_type);
  const std::string& type = own_type.empty() && place_knows ? text.media_type : own_type;
  const bool is_index = is_one_of(kIndexTypes, type) || (type.empty() && looks_like_index);
  const bool is_manifest = is_one_of(kManifestTypes, type) || (type.empty() && looks_like_manifest);
  if (!is_index && !is_manifest) {
    return Failure{ENOTSUP, where + ": is no image, but " +
                                (type.empty() ? "JSON of some other kind" : "of type " + shown(type))};
  }
  if (is_index != looks_like_index) {
    return Failure{EINVAL, where + ": its manifest is not what its type " + shown(type) + " says"};
  }
  return is_index ? TextKind::kIndex : TextKind::kManifest;
}

ResultOrFailure<std::string> find_manifest(transport::ImageSource& source, const image::Platform& platform) {
  const std::string& where = source.name();
  VARVE_ASSIGN(transport::ManifestText text, source.manifest());
  for (int depth = 0;; ++depth) {
    if (text.bytes.size() > transport::kMostManifestBytes) {
      return Failure{EFBIG, where + ": its manifest has more than " +
                                std::to_string(transport::kMostManifestBytes) + " bytes"};
    }
    VARVE_ASSIGN(const TextKind kind, kind_of(text, where));
    if (kind == TextKind::kManifest) return std::move(text.bytes);
    if (depth == kMostIndexDepth) {
      return Failure{EINVAL, where + ": its index leads to an index, and that to others, without an end"};
    }
    VARVE_ASSIGN(const image::Descriptor chosen, image::choose_manifest(text.bytes, platform, where));
    VARVE_ASSIGN(text, source.manifest_of(chosen.digest));
    VARVE_RETURN_IF_ERROR(check_text(text.bytes, chosen, where + ": manifest"));
    if (text.media_type.empty()) text.media_type = chosen.media_type;
  }
}

ResultOrFailure<LayerKind> kind_of_layer(const std::string& media_type, const std::string& where) {
  if (media_type == image::kLayerMediaType) return LayerKind::kVarve;
  if (media_type.find("encrypted") != std::string::npos) {
    return Failure{ENOTSUP, where + " is encrypted"};
  }
  for (const std::string_view prefix :
       {"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar"}) {
    if (media_type.starts_with(prefix)) return LayerKind::kTar;
  }
  return Failure{ENOTSUP,
                 where + " is of type " + shown(media_type) + ", which is no file system that is known here"};
}

StatusOrFailure take_layers(const std::string& manifest_text, image::Manifest manifest, IncomingImage& to,
                            const std::string& where) {
  if (manifest.layers.size() > transport::kMostLayers) {
    return Failure{EINVAL, where + ": has " + std::to_string(manifest.layers.size()) + " layers, more than " +
                               std::to_string(transport::kMostLayers)};
  }
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    VARVE_ASSIGN(const LayerKind kind, kind_of_layer(manifest.layers[i].media_type, layer_name(where, i)));
    to.kinds.push_back(kind);
  }
  const auto json = image::parse_json_object(manifest_text);
  // A subject would have to be in the store as well.
  to.keeps_manifest =
      manifest.config.media_type == image::kConfigMediaType && json.ok() && !json->contains("subject") &&
      json->contains("schemaVersion") && (*json)["schemaVersion"] == 2 &&
      std::all_of(to.kinds.begin(), to.kinds.end(), [](LayerKind kind) { return kind == LayerKind::kVarve; });
  to.manifest_text = manifest_text;
  to.config_descriptor = std::move(manifest.config);
  to.layers = std::move(manifest.layers);
  return {};
}

StatusOrFailure read_config(transport::ImageSource& source, IncomingImage& to) {
  const std::string where = source.name() + ": its configuration";
  if (!is_one_of(kConfigTypes, to.config_descriptor.media_type)) {
    return Failure{ENOTSUP, source.name() + ": is no image, but an artifact with a configuration of type " +
                                shown(to.config_descriptor.media_type)};
  }
  VARVE_ASSIGN(to.config_text, read_blob(source, to.config_descriptor, where));
  auto config = image::parse_image_config(to.config_text);
  if (!config.ok()) return Failure{EINVAL, source.name() + ": " + config.error().message};
  to.config = std::move(config).value();
  if (to.config.os != "linux") {
    return Failure{ENOTSUP, source.name() + ": is made for the operating system " + shown(to.config.os) +
                                ", not for linux"};
  }
  if (to.config.diff_ids.size() != to.layers.size()) {
    return Failure{EINVAL, where + " has diff_ids of " + std::to_string(to.config.diff_ids.size()) +
                               " layers, its manifest has " + std::to_string(to.layers.size())};
  }
  return {};
}

}  // namespace

ResultOrFailure<IncomingImage> read_incoming_image(transport::ImageSource& source,
                                                   const image::Platform& platform) {
  VARVE_ASSIGN(const std::string text, find_manifest(source, platform));
  VARVE_ASSIGN(image::Manifest manifest, image::parse_manifest(text, source.name()));
  IncomingImage incoming{.config_descriptor = manifest.config};
  VARVE_RETURN_IF_ERROR(take_layers(text, std::move(manifest), incoming, source.name()));
  VARVE_RETURN_IF_ERROR(read_config(source, incoming));
  return incoming;
}

}  // namespace varve::transfer
