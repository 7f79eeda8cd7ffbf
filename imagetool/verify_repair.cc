#include "imagetool/verify_repair.h"

#include <algorithm>

#include "imagetool/image/store/build_cache.h"

namespace varve::imagetool {
namespace {

constexpr std::string_view kImport = "imagetool import ";
constexpr std::string_view kCommit = "imagetool commit ";

bool has_layer(const image::ImageHealth& image, const image::Digest& digest) {
  return std::any_of(image.layers.begin(), image.layers.end(),
                     [&](const auto& layer) { return layer->blob.digest == digest; });
}

// "quay.io/app:1", "localhost:5000/app": the first part cannot be but a registry.
bool names_registry(const std::string& name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string::npos) return false;
  const std::string first = name.substr(0, slash);
  return first == "localhost" || first.find_first_of(".:") != std::string::npos;
}

}  // namespace

std::string name_of(const image::ImageHealth& image) {
  return image.name.empty() ? image.digest : image.name;
}

std::string made_by(const image::Image& image, std::size_t index) {
  std::vector<std::string> steps;
  for (const image::HistoryEntry& entry : image.config.history) {
    if (!entry.empty_layer) steps.push_back(entry.created_by);
  }
  return steps.size() == image.layers.size() ? steps[index] : std::string();
}

ResultOrFailure<Repairs> Repairs::prepare(const image::Store& store, const image::Audit& audit) {
  VARVE_ASSIGN(auto containers, image::ContainerStore(store.directory()).list());
  VARVE_ASSIGN(const auto cached, image::BuildCache(store.directory()).layers());
  return Repairs(audit, std::move(containers), {cached.begin(), cached.end()});
}

// What makes the damaged layers anew: a layer file depends on its input alone, so the same one comes and is put in the old one's place.
void Repairs::add_steps(const image::ImageHealth& image, std::vector<Repair>& repairs) const {
  bool is_cached = false;
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    if (!image.layers[i]->is_cause()) continue;
    is_cached = is_cached || cached_.contains(image.layers[i]->blob.digest);
    const std::string step = made_by(*image.image, i);
    const bool one_command = step.find('\n') == std::string::npos;
    if (one_command && (step.starts_with(kImport) || step.starts_with(kCommit))) {
      repairs.push_back({step + " NEWNAME",
                         "if there is still the same: the layer that comes of it is the same "
                         "and takes the damaged one's place"});
    }
  }
  if (is_cached) {
    repairs.push_back({"imagetool verify --set-aside " + name_of(image),
                       "then `imagetool build` carries out the steps of the damaged layers again"});
  }
}

std::vector<Repair> Repairs::of_image(const image::ImageHealth& image) const {
  std::vector<Repair> repairs;
  if (image.good()) return repairs;
  const std::string name = name_of(image);
  if (!image.source.empty()) {
    repairs.push_back({"imagetool pull " + image.source + " " + image.name,
                       "fetches it again and replaces what is damaged"});
  } else if (names_registry(image.name)) {
    repairs.push_back({"imagetool pull " + image.name, "if it came from that registry"});
  }
  const bool can_be_helped = std::any_of(image.layers.begin(), image.layers.end(),
                                         [](const auto& layer) { return layer->is_cause(); });
  for (const image::ImageHealth& other : audit_.images) {
    const bool helps = can_be_helped && !other.source.empty() && other.digest != image.digest &&
                       std::all_of(image.layers.begin(), image.layers.end(), [&](const auto& layer) {
                         return !layer->is_cause() || has_layer(other, layer->blob.digest);
                       });
    if (!helps) continue;
    repairs.push_back(
        {"imagetool pull " + other.source + " " + other.name, "it has the damaged layers, too"});
    break;
  }
  if (image.image) add_steps(image, repairs);
  std::string first;
  for (const std::string& container : containers_over(image)) first += "varve rm " + container + " && ";
  repairs.push_back({first + "imagetool rm " + name + " && imagetool gc", "gives it up"});
  return repairs;
}

std::vector<Repair> Repairs::of_other_blob(const image::BlobHealth& blob) const {
  if (blob.good()) return {};
  if (cached_.contains(blob.digest)) {
    return {{"imagetool verify --set-aside", "then `imagetool build` makes it again when it is needed"}};
  }
  return {{"imagetool gc", "deletes it, unless a container or an image that cannot be read needs it"}};
}

std::vector<std::string> Repairs::containers_over(const image::ImageHealth& image) const {
  std::vector<std::string> names;
  for (const image::ContainerState& container : containers_) {
    bool is_over = container.image_digest == image.digest;
    for (const auto& layer : image.layers) {
      if (layer->good()) continue;
      // Their files are named by the digest.
      for (const std::string& path : container.layer_paths)
        is_over = is_over || path.ends_with(layer->blob.digest.hex());
    }
    if (is_over) names.push_back(container.name);
  }
  return names;
}

std::vector<std::string> Repairs::images_with(const image::Digest& layer) const {
  std::vector<std::string> names;
  for (const image::ImageHealth& image : audit_.images) {
    if (has_layer(image, layer)) names.push_back(name_of(image));
  }
  return names;
}

}  // namespace varve::imagetool
