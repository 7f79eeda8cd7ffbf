#include "imagetool/transfer/bring_in.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "fs/layer/layer_file.h"
#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_annotations.h"
#include "imagetool/image/source/tar_source.h"
#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/conversions.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/transfer/incoming_layers.h"
#include "imagetool/transfer/incoming_manifest.h"

namespace varve::transfer {
namespace {

// A directory in the store's scratch directory, which goes with all that is in it.
class WorkDirectory {
 public:
  static ResultOrFailure<std::unique_ptr<WorkDirectory>> make(image::Store& store) {
    VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
    std::string path = scratch + "/incoming-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return failure_from(Errno::last(), path);
    return std::unique_ptr<WorkDirectory>(new WorkDirectory(std::move(path)));
  }
  ~WorkDirectory() { (void)image::remove_tree(path_); }  // what stays goes with the next gc
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit WorkDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// The image as far as it is converted: layer files in the work directory, open.
class Conversion {
 public:
  Conversion(const IncomingImage& incoming, const std::string& source_name, const BringInOptions& options,
             image::Monitor& monitor)
      : incoming_(incoming), source_name_(source_name), options_(options), monitor_(monitor) {}

  // Takes the lowest layers that the store has already, as many as there are without a gap. Requires: gc() of others waits.
  // Returns: how many. ECANCELED.
  ResultOrFailure<std::size_t> take_those_there(const image::Store& store) {
    while (there_ < incoming_.layers.size()) {
      const std::optional<image::Descriptor> known = known_in(store);
      if (!known) break;
      if (there_ == 0) monitor_.begin("checking what is there", 0);
      if (monitor_.cancelled()) return image::cancelled_failure();
      // What is damaged is as good as absent: it is fetched, and replaced.
      const std::string path = store.blob_path(known->digest);
      if (!is_whole(path, *known) || !take(path, *known, layer_name(source_name_, there_)).ok()) break;
      monitor_.advance(known->size_bytes);
      ++there_;
    }
    monitor_.end();
    return there_;
  }

  // Puts the next layer on top. `path`: what IncomingLayers made of it.
  StatusOrFailure add(const std::string& path) {
    const std::size_t index = layers_.size();
    const std::string name = layer_name(source_name_, index);
    if (incoming_.kinds[index] == LayerKind::kVarve) {
      return take(path, incoming_.layers[index], name);
    }
    const std::string layer_path = path + ".layer";
    VARVE_RETURN_IF_ERROR(convert(path, layer_path, name));
    if (::unlink(path.c_str()) != 0) return failure_from(Errno::last(), path);
    const UniqueFd file(::open(layer_path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return failure_from(Errno::last(), layer_path);
    const Result<image::DigestAndSize> hashed = image::digest_of_file(file.get());
    if (!hashed.ok()) return failure_from(hashed.error(), layer_path);
    return take(layer_path, {std::string(image::kLayerMediaType), hashed->digest, hashed->size_bytes}, name);
  }

  // Moves the layers into the store, and notes what tars became. Returns: their descriptors, bottom first.
  ResultOrFailure<std::vector<image::Descriptor>> finish(image::Store& store) const {
    for (std::size_t i = there_; i < layers_.size(); ++i) {
      // Two layers may be one file.
      if (std::find(at(i + 1), layers_.end(), layers_[i]) != layers_.end()) continue;
      VARVE_RETURN_IF_ERROR(store.adopt_checked(layers_[i], paths_[i]));
    }
    for (std::size_t i = there_; i < layers_.size(); ++i) {
      if (incoming_.kinds[i] != LayerKind::kTar) continue;
      const Result<image::Digest> diff_id = image::Digest::parse(incoming_.config.diff_ids[i]);
      if (!diff_id.ok()) continue;
      VARVE_RETURN_IF_ERROR(
          image::Conversions(store.directory()).put(*diff_id, {layers_.begin(), at(i)}, layers_[i]));
    }
    return layers_;
  }

 private:
  std::vector<image::Descriptor>::const_iterator at(std::size_t index) const {
    return layers_.begin() + static_cast<std::ptrdiff_t>(index);
  }

  static bool is_whole(const std::string& path, const image::Descriptor& layer) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) return false;
    const Result<image::DigestAndSize> hashed = image::digest_of_file(file.get());
    return hashed.ok() && hashed->digest == layer.digest;
  }

  // What the next layer is, over those that were taken, if the store knows it.
  std::optional<image::Descriptor> known_in(const image::Store& store) const {
    const image::Descriptor& next = incoming_.layers[layers_.size()];
    if (incoming_.kinds[layers_.size()] == LayerKind::kVarve) {
      return store.has_blob(next) ? std::optional(next) : std::nullopt;
    }
    const Result<image::Digest> diff_id = image::Digest::parse(incoming_.config.diff_ids[layers_.size()]);
    if (!diff_id.ok()) return std::nullopt;
    return image::Conversions(store.directory()).find(*diff_id, layers_, store);
  }

  StatusOrFailure convert(const std::string& tar, const std::string& layer, const std::string& name) const {
    image::BuildOptions build = options_.build;
    build.writer.output_path = layer;
    build.owner.reset();
    build.latest_mtime_seconds.reset();
    std::unique_ptr<image::ParentFiles> parents;
    if (!stack_.empty()) {
      std::vector<image::Digest> digests;
      for (auto one = layers_.rbegin(); one != layers_.rend(); ++one) digests.push_back(one->digest);
      VARVE_ASSIGN(parents, image::ParentFiles::make(stack_, digests));
      build.parents = parents.get();
    }
    image::TarSource::Options from;
    from.name = name;
    from.below = parents ? &parents->as_union() : nullptr;
    VARVE_ASSIGN(const auto source, image::TarSource::open(tar, std::move(from), monitor_));
    VARVE_ASSIGN(const image::LayerWriter::Summary summary, image::build_layer(*source, build, monitor_));
    static_cast<void>(summary);
    return {};
  }

  // Reads all metadata of the layer.
  StatusOrFailure take(const std::string& path, image::Descriptor descriptor, const std::string& name) {
    auto opened = layer::open_layer(path, context_, {.layers = stack_, .all_there = true});
    if (!opened.ok()) return Failure{opened.error().error_number, name + ": " + opened.error().message};
    const auto* file = dynamic_cast<const layer::LayerFile*>(opened->get());
    if (file == nullptr) return Failure{EINVAL, name + ": is no layer file"};
    if (const auto loaded = file->load_all(); !loaded.ok())
      return Failure{loaded.error().error_number, name + ": " + loaded.error().message};
    VARVE_ASSIGN(auto annotations, image::layer_annotations(path));
    for (const auto& [key, value] : annotations) {
      const auto told = descriptor.annotations.find(key);
      if (told != descriptor.annotations.end() && told->second != value)
        return Failure{EBADMSG, name + ": the annotation " + key + " of its descriptor is not true"};
    }
    descriptor.annotations.merge(annotations);
    stack_.insert(stack_.begin(), std::move(opened).value());
    layers_.push_back(std::move(descriptor));
    paths_.push_back(path);
    return {};
  }

  const IncomingImage& incoming_;
  const std::string& source_name_;
  const BringInOptions& options_;
  image::Monitor& monitor_;
  const layer::LayerContext context_;
  std::vector<std::shared_ptr<layer::Layer>> stack_;  // the topmost first
  std::vector<image::Descriptor> layers_;             // bottom first
  std::vector<std::string> paths_;                    // of layers_
  std::size_t there_ = 0;                             // the lowest layers_, which were in the store
};

void warn_of_architecture(const IncomingImage& incoming, const image::Platform& wanted,
                          const std::string& source_name, image::Monitor& monitor) {
  if (incoming.config.architecture.empty() || incoming.config.architecture == wanted.architecture) return;
  const auto own = image::parse_platform("linux/" + incoming.config.architecture);
  monitor.warn(source_name + ": is made for " + (own.ok() ? own->text() : "another architecture") +
               ", not for " + wanted.text());
}

}  // namespace

ResultOrFailure<image::Image> bring_in(transport::ImageSource& source, image::Store& store,
                                       const image::ImageName& name, const BringInOptions& options,
                                       image::Monitor& monitor) {
  const image::Platform platform = options.platform ? *options.platform : image::host_platform();
  VARVE_ASSIGN(const IncomingImage incoming, read_incoming_image(source, platform));
  warn_of_architecture(incoming, platform, source.name(), monitor);
  // From here on gc() of others waits: what is found in the store stays there.
  VARVE_ASSIGN(const std::unique_ptr<WorkDirectory> work, WorkDirectory::make(store));
  Conversion conversion(incoming, source.name(), options, monitor);
  VARVE_ASSIGN(const std::size_t there, conversion.take_those_there(store));
  {
    IncomingLayers layers(source, incoming, there, work->path(), options.jobs, monitor);
    for (std::size_t i = there; i < incoming.layers.size(); ++i) {
      VARVE_ASSIGN(const std::string path, layers.wait_for(i));
      VARVE_RETURN_IF_ERROR(conversion.add(path));
    }
  }
  VARVE_ASSIGN(const std::vector<image::Descriptor> layers, conversion.finish(store));
  VARVE_ASSIGN(const image::Descriptor config, store.put_blob(image::kConfigMediaType, incoming.config_text));
  return store.put_manifest(name, incoming.keeps_manifest
                                      ? incoming.manifest_text
                                      : image::manifest_to_json(image::Manifest{config, layers}));
}

}  // namespace varve::transfer
