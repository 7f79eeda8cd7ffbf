#include "fs/layer/open_layer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/base/user_namespace.h"
#include "fs/layer/directory_layer.h"
#include "fs/layer/layer_file.h"

namespace varve::layer {

bool is_root_of_host() {
  static const bool is_root = ::geteuid() == 0 && in_initial_user_namespace();
  return is_root;
}

ResultOrFailure<std::shared_ptr<Layer>> open_layer(const std::string& path, const LayerContext& context,
                                                   const LayersBelow& below) {
  struct stat status {};
  // When stat fails, opening says why.
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    VARVE_ASSIGN(std::unique_ptr<DirectoryLayer> layer, DirectoryLayer::open(path, context.overrides));
    return std::shared_ptr<Layer>(std::move(layer));
  }
  VARVE_ASSIGN(std::unique_ptr<LayerFile> layer, LayerFile::open(path, context, below));
  return std::shared_ptr<Layer>(std::move(layer));
}

ResultOrFailure<std::vector<std::shared_ptr<Layer>>> open_stack(std::span<const std::string> paths,
                                                                const LayerContext& context) {
  std::vector<std::shared_ptr<Layer>> layers;
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    VARVE_ASSIGN(std::shared_ptr<Layer> layer,
                 open_layer(*path, context, LayersBelow{.layers = layers, .all_there = true}));
    layers.push_back(std::move(layer));
  }
  std::reverse(layers.begin(), layers.end());
  return layers;
}

}  // namespace varve::layer
