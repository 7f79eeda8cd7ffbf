#include "imagetool/transport/docker_archive_source.h"

#include <algorithm>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"

namespace varve::transport {
namespace {

constexpr std::size_t kReadBytes = 1 << 18;

}  // namespace

bool DockerArchiveSource::is_one(const ImageFiles& files) {
  if (!files.has("manifest.json")) return false;
  const auto text = read_whole(files, "manifest.json", kMostManifestBytes);
  if (!text.ok()) return false;
  // Web sites have a file of that name, too: an object.
  const auto json = image::parse_json(*text);
  return json.ok() && json->is_array() && !json->empty() && (*json)[0].is_object() &&
         (*json)[0].contains("Config") && (*json)[0].contains("Layers");
}

ResultOrFailure<std::vector<DockerArchiveSource::SavedImage>> DockerArchiveSource::read_images(
    const std::string& text, const std::string& where) {
  auto json = image::parse_json(text);
  if (!json.ok()) return Failure{EINVAL, where + ": " + json.error().message};
  if (!json->is_array()) return Failure{EINVAL, where + ": not an array of images"};
  std::vector<SavedImage> images;
  for (const image::Json& item : *json) {
    SavedImage image;
    image::JsonReader reader(item, where);
    reader.check("[]", item.is_object(), "an array of objects");
    reader.read("Config", image.config);
    reader.read("Layers", image.layers);
    reader.read("RepoTags", image.tags);
    reader.check("Config", !image.config.empty(), "there");
    VARVE_RETURN_IF_ERROR(reader.status());
    images.push_back(std::move(image));
  }
  return images;
}

ResultOrFailure<std::unique_ptr<DockerArchiveSource>> DockerArchiveSource::open(
    std::unique_ptr<ImageFiles> files, const std::string& reference, std::string name) {
  std::unique_ptr<DockerArchiveSource> source(new DockerArchiveSource(std::move(files), std::move(name)));
  VARVE_RETURN_IF_ERROR(source->choose(reference));
  return source;
}

StatusOrFailure DockerArchiveSource::choose(const std::string& reference) {
  VARVE_ASSIGN(const std::string text, read_whole(*files_, "manifest.json", kMostManifestBytes));
  VARVE_ASSIGN(std::vector<SavedImage> images, read_images(text, name_ + ": manifest.json"));
  std::string tags;
  const std::string wanted = familiar_name(reference);
  SavedImage* chosen = nullptr;
  for (SavedImage& image : images) {
    for (const std::string& tag : image.tags) {
      if (image::parse_image_name(tag).ok()) tags += (tags.empty() ? "" : ", ") + tag;
    }
    const bool named = std::any_of(image.tags.begin(), image.tags.end(),
                                   [&](const std::string& one) { return familiar_name(one) == wanted; });
    if (reference.empty() ? images.size() == 1 : named) chosen = &image;
  }
  if (images.empty()) return Failure{ENOENT, name_ + ": holds no image"};
  if (chosen == nullptr && tags.empty()) tags = "without names";
  if (chosen == nullptr && reference.empty()) {
    return Failure{
        EINVAL, name_ + ": holds several images: " + tags + " (say which one: " + files_->name() + ":NAME)"};
  }
  if (chosen == nullptr)
    return Failure{ENOENT, name_ + ": holds no image of that name (there are: " + tags + ")"};
  if (chosen->layers.size() > kMostLayers) {
    return Failure{EINVAL, name_ + ": has " + std::to_string(chosen->layers.size()) + " layers, more than " +
                               std::to_string(kMostLayers)};
  }
  image_ = std::move(*chosen);
  return {};
}

ResultOrFailure<image::Descriptor> DockerArchiveSource::describe(const std::string& path,
                                                                 std::string_view media_type) {
  if (const auto known = known_.find(path); known != known_.end()) return known->second;
  VARVE_ASSIGN(const std::unique_ptr<ByteStream> stream, files_->open(path, 0));
  image::Sha256 hash;
  std::vector<std::byte> buffer(kReadBytes);
  std::uint64_t size_bytes = 0;
  for (;;) {
    VARVE_ASSIGN(const std::size_t got, stream->read(buffer));
    if (got == 0) break;
    hash.update(std::span(buffer).first(got));
    size_bytes += got;
  }
  image::Descriptor descriptor{std::string(media_type), hash.finish(), size_bytes};
  paths_.emplace(descriptor.digest, path);
  known_.emplace(path, descriptor);
  return descriptor;
}

ResultOrFailure<ManifestText> DockerArchiveSource::manifest() {
  if (manifest_.empty()) {
    VARVE_ASSIGN(image::Descriptor config, describe(image_.config, image::kConfigMediaType));
    image::Manifest manifest{std::move(config), {}};
    for (const std::string& layer : image_.layers) {
      VARVE_ASSIGN(image::Descriptor descriptor, describe(layer, "application/vnd.oci.image.layer.v1.tar"));
      manifest.layers.push_back(std::move(descriptor));
    }
    manifest_ = image::manifest_to_json(manifest);
  }
  return ManifestText{std::string(image::kManifestMediaType), manifest_};
}

ResultOrFailure<ManifestText> DockerArchiveSource::manifest_of(const image::Digest& digest) {
  return Failure{ENOENT, name_ + ": there is no manifest " + digest.text()};
}

ResultOrFailure<std::unique_ptr<ByteStream>> DockerArchiveSource::open_blob(const image::Descriptor& blob,
                                                                            std::uint64_t offset_bytes) {
  const auto path = paths_.find(blob.digest);
  if (path == paths_.end()) return Failure{ENOENT, name_ + ": there is no blob " + blob.digest.text()};
  return files_->open(path->second, offset_bytes);
}

}  // namespace varve::transport
