// imagetool pull REGISTRY/NAME[:TAG|@DIGEST] [NAME]

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"
#include "imagetool/pull_image.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string name;
  std::string platform;
  std::string digest_file;
  unsigned jobs = 0;
  bool json = false;
  RegistryFlags registry;
  BuildFlags build;
};

// What it is called on the command line, so that the same words run it. A digest becomes a tag, as it does in registries
// that know no referrers (distribution-spec "Referrers Tag Schema").
std::string default_name(const std::string& source, const transport::RegistryName& parsed) {
  std::string name = source.substr(0, source.find('@'));
  if (name.starts_with("docker://")) name.erase(0, 9);
  if (parsed.tag.empty()) name += ":sha256-" + std::string(parsed.digest->hex());
  return name;
}

StatusOrFailure pull(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const transport::RegistryName source_name, transport::parse_registry_name(arguments.source));
  VARVE_ASSIGN(const image::ImageName name,
               image::parse_image_name(arguments.name.empty() ? default_name(arguments.source, source_name)
                                                              : arguments.name));
  transfer::BringInOptions options;
  options.jobs = arguments.jobs;
  VARVE_ASSIGN(options.build, build_options(arguments.build, ""));
  if (!arguments.platform.empty()) {
    VARVE_ASSIGN(options.platform, image::parse_platform(arguments.platform));
  }
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const PulledImage pulled,
               pull_image(source_name, name, arguments.registry, options, store, *monitor));
  const image::Image& image = pulled.image;
  VARVE_RETURN_IF_ERROR(write_digest_file(arguments.digest_file, pulled.registry_digest));
  print_made_image(image, arguments.json,
                   {{"registry_digest", pulled.registry_digest},
                    {"layers", image.layers.size()},
                    {"bytes", layer_bytes(image)}},
                   human_bytes(layer_bytes(image)));
  return {};
}

}  // namespace

void add_pull(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("pull", "Bring an image from a registry into the store");
  command
      ->add_option(
          "SOURCE", arguments->source,
          "[REGISTRY[:PORT]/]NAME[:TAG][@DIGEST]; without a registry docker.io, without a tag latest")
      ->required();
  command->add_option("NAME", arguments->name, "NAME[:TAG] in the store (default: as SOURCE is written)");
  command->add_option("--platform", arguments->platform, "Of an image for several (default: this machine's)")
      ->type_name("OS/ARCH[/VARIANT]");
  command
      ->add_option(
          "--profile", arguments->build.profile,
          "Of layers that are converted: fast, default, max (imagetool layer build --help); those that the "
          "store has stay as they are")
      ->check(CLI::IsMember({"fast", "default", "max"}))
      ->capture_default_str();
  command->add_option("--jobs,-j", arguments->jobs, "Downloads at once (default: 3)")
      ->check(CLI::Range(1, 64));
  command
      ->add_option("--digestfile", arguments->digest_file,
                   "Write the digest that the registry knows it by to this file")
      ->type_name("FILE");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_registry_flags(*command, arguments->registry);
  command->footer(
      "Layers that the store has from an earlier pull or import are neither fetched nor converted again.\n"
      "Example:\n  imagetool pull debian:12\n"
      "  imagetool pull registry.example:5000/team/app:1.0 app\n"
      "  imagetool pull --platform linux/arm64 quay.io/team/app@sha256:0123...");
  command->callback([arguments, &context] {
    run_command(context, "pulling an image", [&] { return pull(*arguments, context); });
  });
}

}  // namespace varve::imagetool
