// imagetool verify NAME...

#include <fcntl.h>
#include <fmt/format.h>

#include "fs/base/unique_fd.h"
#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/verify_report.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::vector<std::string> names;
};

// The blob against its name, then what is in it against its own checksums.
ResultOrFailure<bool> layer_is_good(const image::Descriptor& layer, const std::string& path,
                                    std::vector<std::shared_ptr<layer::Layer>>& below,
                                    image::Monitor& monitor) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return failure_from(Errno::last(), path);
  const Result<image::DigestAndSize> found = image::digest_of_file(file.get());
  if (!found.ok()) return failure_from(found.error(), path);
  const bool same = found->digest == layer.digest && found->size_bytes == layer.size_bytes;
  if (!same)
    print(fmt::format("  layer {}: DAMAGED: its bytes do not match its digest\n", layer.digest.short_hex()));
  VARVE_ASSIGN(const image::VerifyReport report, image::verify_layer(path, below, monitor));
  // A damaged one may not open; what lies on it then counts as unchecked, and the image as damaged anyway.
  auto opened = layer::open_layer(path, {}, {.layers = below, .all_there = false});
  if (opened.ok()) below.push_back(std::move(opened).value());
  if (!report.good() || same) print("  layer " + report_text(layer.digest.short_hex(), report));
  return same && report.good();
}

StatusOrFailure verify(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  quiet_damage_log();
  VARVE_ASSIGN(const image::Store store, context.open_store());
  std::size_t bad = 0;
  for (const std::string& name : arguments.names) {
    // resolve() checks manifest and configuration against their digests.
    VARVE_ASSIGN(const image::Image image, store.resolve(name));
    print(fmt::format("{} {}: manifest and configuration good, {} layers\n", printable(name),
                      image.digest.short_hex(), image.layers.size()));
    bool good = true;
    std::vector<std::shared_ptr<layer::Layer>> below;
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      if (monitor->cancelled()) return image::cancelled_failure();
      VARVE_ASSIGN(const bool layer_good,
                   layer_is_good(image.layers[i], image.layer_paths[i], below, *monitor));
      good = good && layer_good;
    }
    if (!good) ++bad;
  }
  if (bad > 0)
    return Failure{EUCLEAN, fmt::format("{} of {} images are damaged", bad, arguments.names.size())};
  return {};
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("verify", "Check images: every blob against its digest, every layer whole");
  command->add_option("NAME", arguments->names, "NAME[:TAG] or digest")->required();
  command->footer("Example:\n  imagetool verify debian:12");
  command->callback([arguments, &context] {
    run_command(context, "verifying an image", [&] { return verify(*arguments, context); });
  });
}

}  // namespace varve::imagetool
