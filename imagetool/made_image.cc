#include "imagetool/made_image.h"

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {

std::uint64_t layer_bytes(const image::Image& image) {
  std::uint64_t bytes = 0;
  for (const image::Descriptor& layer : image.layers) bytes += layer.size_bytes;
  return bytes;
}

void print_made_image(const image::Image& image, bool json, const nlohmann::json& more,
                      const std::string& about) {
  if (!json) return print(fmt::format("{} {} ({})\n", image.name, image.digest.text(), about));
  image::Json all = {{"name", image.name}, {"digest", image.digest.text()}};
  all.update(more);
  print(image::json_text(all) + "\n");
}

}  // namespace varve::imagetool
