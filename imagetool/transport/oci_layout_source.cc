#include "imagetool/transport/oci_layout_source.h"

#include <algorithm>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"

namespace varve::transport {
namespace {

std::string blob_path(const image::Digest& digest) {
  return "blobs/sha256/" + std::string(digest.hex());
}

struct Entry {
  image::Descriptor descriptor;
  std::vector<std::string> names;
  bool has_platform = false;
};

ResultOrFailure<std::vector<Entry>> read_entries(const std::string& index, const std::string& where) {
  auto json = image::parse_json_object(index);
  if (!json.ok()) return Failure{EINVAL, where + ": " + json.error().message};
  image::JsonReader reader(*json, where);
  const image::Json* manifests = reader.array("manifests");
  reader.check("manifests", manifests != nullptr, "an array");
  VARVE_RETURN_IF_ERROR(reader.status());
  std::vector<Entry> entries;
  for (const image::Json& item : *manifests) {
    VARVE_ASSIGN(image::Descriptor descriptor, image::parse_descriptor(item, where + ", manifests"));
    Entry entry{std::move(descriptor), {}, false};
    image::JsonReader fields(item, where + ", manifests");
    entry.has_platform = fields.object("platform") != nullptr;
    std::map<std::string, std::string> annotations;
    fields.read("annotations", annotations);
    VARVE_RETURN_IF_ERROR(fields.status());
    for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"}) {
      if (const auto found = annotations.find(key); found != annotations.end() && !found->second.empty())
        entry.names.push_back(found->second);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

// As it may be shown on a terminal: what is no name is left out.
std::string list_of(const std::vector<Entry>& entries) {
  std::string text;
  for (const Entry& entry : entries) {
    for (const std::string& name : entry.names) {
      if (image::parse_image_name(name).ok()) text += (text.empty() ? "" : ", ") + name;
    }
  }
  return text.empty() ? "without names" : text;
}

}  // namespace

ResultOrFailure<std::unique_ptr<OciLayoutSource>> OciLayoutSource::open(std::unique_ptr<ImageFiles> files,
                                                                        const std::string& reference,
                                                                        std::string name) {
  VARVE_ASSIGN(const std::string version, read_whole(*files, "oci-layout", kMostManifestBytes));
  VARVE_RETURN_IF_ERROR(image::check_layout_version(version, name + ": oci-layout"));
  std::unique_ptr<OciLayoutSource> source(new OciLayoutSource(std::move(files), std::move(name)));
  VARVE_RETURN_IF_ERROR(source->choose(reference));
  return source;
}

StatusOrFailure OciLayoutSource::choose(const std::string& reference) {
  VARVE_ASSIGN(std::string index, read_whole(*files_, "index.json", kMostManifestBytes));
  VARVE_ASSIGN(const std::vector<Entry> entries, read_entries(index, name_ + ": index.json"));
  const std::string wanted = familiar_name(reference);
  const Entry* chosen = nullptr;
  for (const Entry& entry : entries) {
    const bool named = std::any_of(entry.names.begin(), entry.names.end(),
                                   [&](const std::string& one) { return familiar_name(one) == wanted; });
    if (reference.empty() ? entries.size() == 1 : named) chosen = &entry;  // the last one of a name holds
  }
  if (chosen == nullptr && reference.empty() && !entries.empty() &&
      std::all_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.has_platform; })) {
    manifest_ = {std::string(image::kIndexMediaType), std::move(index)};
    annotated_names_ = entries.front().names;
    return {};
  }
  if (chosen == nullptr && entries.empty()) return Failure{ENOENT, name_ + ": holds no image"};
  if (chosen == nullptr && reference.empty()) {
    return Failure{EINVAL, name_ + ": holds several images: " + list_of(entries) +
                               " (say which one: " + files_->name() + ":NAME)"};
  }
  if (chosen == nullptr) {
    return Failure{ENOENT, name_ + ": holds no image of that name (there are: " + list_of(entries) + ")"};
  }
  VARVE_ASSIGN(manifest_, manifest_of(chosen->descriptor.digest));
  if (image::Digest::of(manifest_.bytes) != chosen->descriptor.digest ||
      manifest_.bytes.size() != chosen->descriptor.size_bytes) {
    return Failure{EBADMSG, name_ + ": its manifest " + chosen->descriptor.digest.text() +
                                " is damaged: other bytes than its digest and size say"};
  }
  manifest_.media_type = chosen->descriptor.media_type;
  annotated_names_ = chosen->names;
  return {};
}

ResultOrFailure<ManifestText> OciLayoutSource::manifest_of(const image::Digest& digest) {
  VARVE_ASSIGN(std::string bytes, read_whole(*files_, blob_path(digest), kMostManifestBytes));
  return ManifestText{"", std::move(bytes)};
}

ResultOrFailure<std::unique_ptr<ByteStream>> OciLayoutSource::open_blob(const image::Descriptor& blob,
                                                                        std::uint64_t offset_bytes) {
  return files_->open(blob_path(blob.digest), offset_bytes);
}

}  // namespace varve::transport
