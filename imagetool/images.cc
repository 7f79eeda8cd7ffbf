// imagetool images

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  bool json = false;
  bool quiet = false;
  bool names = false;
};

// An image that cannot be read is named and fails the command, after the others were listed.
StatusOrFailure list(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  VARVE_ASSIGN(const std::vector<image::ListedImage> listed, store.list());
  image::Json all = image::Json::array();
  std::size_t widest = 4;
  for (const image::ListedImage& one : listed) widest = std::max(widest, one.name.size());
  if (!arguments.json && !arguments.quiet && !arguments.names) {
    print(fmt::format("{:<{}}  {:<12}  {:<20}  {:>6}  {:>8}\n", "NAME", widest, "DIGEST", "CREATED", "LAYERS",
                      "SIZE"));
  }
  StatusOrFailure outcome;
  for (const image::ListedImage& one : listed) {
    if (arguments.names) {
      if (!one.name.empty()) print(one.name + "\n");
      continue;
    }
    if (arguments.quiet) {
      print(one.digest.text() + "\n");
      continue;
    }
    auto image = store.resolve(one.name.empty() ? one.digest.text() : one.name);
    if (!image.ok()) {
      if (!outcome.ok()) print_warning(outcome.error().message);
      outcome = std::move(image).error();
      continue;
    }
    if (arguments.json) {
      all.push_back({{"name", one.name},
                     {"digest", one.digest.text()},
                     {"created", image->config.created},
                     {"layers", image->layers.size()},
                     {"bytes", layer_bytes(*image)}});
    } else {
      print(fmt::format("{:<{}}  {:<12}  {:<20}  {:>6}  {:>8}\n", printable(one.name), widest,
                        one.digest.short_hex(), printable(image->config.created), image->layers.size(),
                        human_bytes(layer_bytes(*image))));
    }
  }
  if (arguments.json) print(image::json_text(all, 2) + "\n");
  return outcome;
}

}  // namespace

void add_images(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("images", "List the images in the store");
  CLI::Option* json = command->add_flag("--json", arguments->json, "As a JSON array");
  CLI::Option* quiet = command->add_flag("-q,--quiet", arguments->quiet, "Digests only");
  command->add_flag("--names", arguments->names, "Names only, one a line; the images are not read for it")
      ->excludes(json)
      ->excludes(quiet);
  command->footer("Example:\n  imagetool --store ./store images");
  command->callback([arguments, &context] {
    run_command(context, "listing images", [&] { return list(*arguments, context); });
  });
}

}  // namespace varve::imagetool
