#include "imagetool/image/layer_blob.h"

#include <unistd.h>

#include <memory>

#include "fs/layer/open_layer.h"
#include "imagetool/image/layer_annotations.h"
#include "imagetool/image/source/directory_source.h"
#include "imagetool/image/source/upper_source.h"

namespace varve::image {

ResultOrFailure<Descriptor> build_layer_blob(Store& store, TreeSource& source, BuildOptions options,
                                             Monitor& monitor) {
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  options.writer.output_path = scratch + "/layer-" + std::to_string(::getpid());
  VARVE_ASSIGN(const LayerWriter::Summary summary, build_layer(source, options, monitor));
  auto annotations = layer_annotations(options.writer.output_path);
  auto descriptor = annotations.ok() ? store.adopt_file(kLayerMediaType, options.writer.output_path)
                                     : ResultOrFailure<Descriptor>(annotations.error());
  if (descriptor.ok()) {
    descriptor->annotations = std::move(annotations).value();
  } else {
    ::unlink(options.writer.output_path.c_str());
  }
  return descriptor;
}

namespace {

struct OpenParents {
  std::vector<std::shared_ptr<layer::Layer>> stack;  // top first
  std::unique_ptr<ParentFiles> files;
};

ResultOrFailure<OpenParents> open_parents(const LayersBelow& below) {
  OpenParents parents;
  const std::vector<std::string> paths(below.paths.rbegin(), below.paths.rend());
  VARVE_ASSIGN(parents.stack, layer::open_stack(paths, {}));
  std::vector<Digest> digests;
  for (auto one = below.layers.rbegin(); one != below.layers.rend(); ++one) digests.push_back(one->digest);
  VARVE_ASSIGN(parents.files, ParentFiles::make(parents.stack, digests));
  return parents;
}

}  // namespace

ResultOrFailure<Descriptor> build_layer_blob_over(Store& store, const LayersBelow& below, TreeSource& source,
                                                  BuildOptions options, Monitor& monitor) {
  VARVE_ASSIGN(const OpenParents parents, open_parents(below));
  options.parents = parents.files.get();
  return build_layer_blob(store, source, std::move(options), monitor);
}

ResultOrFailure<Descriptor> build_upper_blob(Store& store, const WrittenUpper& written, BuildOptions options,
                                             Monitor& monitor) {
  VARVE_ASSIGN(const OpenParents parents, open_parents(written.below));
  options.parents = parents.files.get();
  if (written.work.empty()) {
    VARVE_ASSIGN(const auto source, DirectorySource::open(written.upper, {}, monitor));
    return build_layer_blob(store, *source, std::move(options), monitor);
  }
  UpperSource::Options upper;
  upper.upper_path = written.upper;
  upper.work_path = written.work;
  upper.layers.assign(parents.stack.rbegin(), parents.stack.rend());
  upper.parents = parents.files.get();
  VARVE_ASSIGN(const auto source, UpperSource::open(std::move(upper), monitor));
  VARVE_ASSIGN(Descriptor layer, build_layer_blob(store, *source, std::move(options), monitor));
  VARVE_RETURN_IF_ERROR(source->close());
  return layer;
}

}  // namespace varve::image
