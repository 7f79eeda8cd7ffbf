// imagetool squash IMAGE [NEW]

#include <fmt/format.h>

#include <algorithm>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/layer_blob.h"
#include "imagetool/image/source/layer_source.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string name;
  std::string message;
  std::size_t keep = 0;
  bool json = false;
  BuildFlags build;
};

// The layers of `image` above its lowest `keep` as one, which lies on those.
ResultOrFailure<image::Descriptor> make_one_layer(image::Store& store, const image::Image& image,
                                                  std::size_t keep, image::BuildOptions build,
                                                  image::Monitor& monitor) {
  const auto kept = image.layer_paths.begin() + static_cast<std::ptrdiff_t>(keep);
  image::LayerSource::Options options;
  options.layers.assign(image.layer_paths.rbegin(), std::make_reverse_iterator(kept));
  options.flatten = keep == 0;
  std::unique_ptr<image::ParentFiles> parents;
  if (keep > 0) {
    const std::vector<std::string> below(std::make_reverse_iterator(kept), image.layer_paths.rend());
    VARVE_ASSIGN(const auto stack, layer::open_stack(below, {}));
    std::vector<image::Digest> digests;
    for (std::size_t i = keep; i > 0; --i) digests.push_back(image.layers[i - 1].digest);
    VARVE_ASSIGN(parents, image::ParentFiles::make(stack, digests));
    options.parents = parents.get();
  }
  VARVE_ASSIGN(const auto source, image::LayerSource::open(std::move(options), monitor));
  build.parents = parents.get();
  return image::build_layer_blob(store, *source, std::move(build), monitor);
}

// What the layers were made by stays in the history, as steps that have left no layer of their own.
void rewrite_history(image::ImageConfig& config, std::size_t keep, const std::string& created,
                     const Arguments& arguments) {
  std::size_t layer = 0;
  for (image::HistoryEntry& entry : config.history) {
    if (entry.empty_layer) continue;
    entry.empty_layer = layer++ >= keep;
  }
  config.history.push_back({.created = created,
                            .created_by = "imagetool squash " + arguments.source,
                            .author = "",
                            .comment = arguments.message});
  config.diff_ids.resize(std::min(config.diff_ids.size(), keep));
  config.created = created;
}

StatusOrFailure squash(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const image::BuildOptions options, build_options(arguments.build, ""));
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image source, store.resolve(arguments.source));
  if (arguments.name.empty() && source.name.empty())
    return Failure{EINVAL, arguments.source + ": has no name to give to the new image (give NEW)"};
  VARVE_ASSIGN(const image::ImageName name,
               image::parse_image_name(arguments.name.empty() ? source.name : arguments.name));
  // One layer alone may be packed anew.
  if (arguments.keep + 1 >= std::max<std::size_t>(source.layers.size(), 2)) {
    return Failure{EINVAL,
                   fmt::format("{}: has {} layers, and above the lowest {} there are not two to make one of",
                               arguments.source, source.layers.size(), arguments.keep)};
  }
  VARVE_ASSIGN(const image::Descriptor layer,
               make_one_layer(store, source, arguments.keep, options, *monitor));
  image::ImageConfig config = source.config;
  rewrite_history(config, arguments.keep, creation_time(options), arguments);
  std::vector<image::Descriptor> layers(source.layers.begin(),
                                        source.layers.begin() + static_cast<std::ptrdiff_t>(arguments.keep));
  layers.push_back(layer);
  VARVE_ASSIGN(const image::Image made, store.put_image(name, std::move(config), layers));
  print_made_image(
      made, arguments.json,
      {{"layers", made.layers.size()}, {"layer", layer.digest.text()}, {"layer_bytes", layer.size_bytes}},
      fmt::format("{}, {} layers where {} were", human_bytes(layer.size_bytes), made.layers.size(),
                  source.layers.size()));
  return {};
}

}  // namespace

void add_squash(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("squash", "Make one layer of those of an image");
  command->add_option("IMAGE", arguments->source, "NAME[:TAG] or digest")->required();
  command->add_option("NEW", arguments->name, "NAME[:TAG] of the new image (default: that of IMAGE)");
  command
      ->add_option("--keep", arguments->keep, "Leave so many of the lowest layers as they are (default: 0)")
      ->type_name("LAYERS");
  command->add_option("-m,--message", arguments->message, "Comment for the history");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_layer_flags(*command, arguments->build, "zstd level, 1 to 19 (default 3)");
  command->footer(
      "What a higher layer deletes or replaces takes no more room. The old layers stay as long as another "
      "name needs them.\n"
      "Example:\n  imagetool squash app:1.4 app:1.4-flat\n  imagetool squash app:1.4 --keep 1");
  command->callback([arguments, &context] {
    run_command(context, "squashing an image", [&] { return squash(*arguments, context); });
  });
}

}  // namespace varve::imagetool
