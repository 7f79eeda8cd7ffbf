// imagetool inspect NAME...

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

using image::Json;

ResultOrFailure<Json> describe(const image::Image& image) {
  VARVE_ASSIGN(Json config, image::parse_json_object(image::image_config_to_json(image.config)));
  Json layers = Json::array();
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    layers.push_back({{"digest", image.layers[i].digest.text()},
                      {"media_type", image.layers[i].media_type},
                      {"bytes", image.layers[i].size_bytes},
                      {"path", image.layer_paths[i]}});
  }
  return Json{{"name", image.name},
              {"digest", image.digest.text()},
              {"config_digest", image.config_descriptor.digest.text()},
              {"layers", layers},
              {"config", config}};
}

StatusOrFailure inspect(const std::vector<std::string>& names, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  Json all = Json::array();
  for (const std::string& name : names) {
    VARVE_ASSIGN(const image::Image image, store.resolve(name));
    VARVE_ASSIGN(Json described, describe(image));
    all.push_back(std::move(described));
  }
  print(image::json_text(all, 2) + "\n");
  return {};
}

}  // namespace

void add_inspect(CLI::App& app, Context& context) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("inspect", "Tell all about images, as a JSON array");
  command->add_option("NAME", *names, "NAME[:TAG] or digest")->required();
  command->add_flag("--json")->description("As JSON, which it is anyway");
  command->footer("Example:\n  imagetool inspect debian:12");
  command->callback([names, &context] {
    run_command(context, "inspecting an image", [&] { return inspect(*names, context); });
  });
}

}  // namespace varve::imagetool
