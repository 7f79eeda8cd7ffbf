#include "fs/layer/open_layer.h"

#include <sys/stat.h>

#include "fs/layer/directory_layer.h"
#include "fs/layer/layer_file.h"

namespace varve::layer {

ResultOrFailure<std::shared_ptr<Layer>> open_layer(const std::string& path, const LayerContext& context) {
  struct stat status {};
  // When stat fails, opening says why.
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    VARVE_ASSIGN(std::unique_ptr<DirectoryLayer> layer, DirectoryLayer::open(path));
    return std::shared_ptr<Layer>(std::move(layer));
  }
  VARVE_ASSIGN(std::unique_ptr<LayerFile> layer, LayerFile::open(path, context));
  return std::shared_ptr<Layer>(std::move(layer));
}

}  // namespace varve::layer
