// imagetool push NAME [REGISTRY/NAME[:TAG]]

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/registry_flags.h"
#include "imagetool/tar_form.h"
#include "imagetool/transfer/give_out.h"
#include "imagetool/transport/registry_destination.h"

namespace varve::imagetool {
namespace {

using transfer::LayerForm;

struct Arguments {
  std::string name;
  std::string destination;
  std::string format = "oci";
  std::string compress;  // empty: gzip
  int level = 0;
  unsigned jobs = 0;
  std::string digest_file;
  bool json = false;
  RegistryFlags registry;
};

ResultOrFailure<LayerForm> form_of(const Arguments& arguments) {
  if (arguments.format == "varve") {
    if (!arguments.compress.empty() || arguments.level != 0)
      return Failure{EINVAL, "--format varve: layers stay as they are, --compress and --level are for tars"};
    return LayerForm::kVarve;
  }
  return tar_form(arguments.compress.empty() ? "gzip" : arguments.compress, arguments.level);
}

ResultOrFailure<transport::RegistryName> destination_of(const Arguments& arguments) {
  if (!arguments.destination.empty()) return transport::parse_registry_name(arguments.destination);
  VARVE_ASSIGN(transport::RegistryName name, transport::parse_registry_name(arguments.name));
  // A name without a registry is not meant for docker.io by accident.
  if (!name.has_host) {
    return Failure{EINVAL, fmt::format("{} names no registry (give REGISTRY/NAME[:TAG] after it)",
                                       printable(arguments.name))};
  }
  return name;
}

// Where else in the registry layers of `image` may lie: names in the store tell, of images that came from there or went there.
// What is not there after all is sent.
transport::RegistryDestination::Elsewhere elsewhere_of(const image::Store& store, const image::Image& image,
                                                       const transport::RegistryName& destination) {
  transport::RegistryDestination::Elsewhere elsewhere;
  const auto listed = store.list();
  if (!listed.ok()) return elsewhere;
  for (const image::ListedImage& one : *listed) {
    const auto name = transport::parse_registry_name(one.name);
    if (!name.ok() || !name->has_host || name->registry != destination.registry ||
        name->repository == destination.repository) {
      continue;
    }
    const auto other = store.resolve(one.name);
    if (!other.ok()) continue;  // what is wrong with it is its own matter
    for (const image::Descriptor& layer : other->layers) {
      const bool ours =
          std::any_of(image.layers.begin(), image.layers.end(),
                      [&](const image::Descriptor& mine) { return mine.digest == layer.digest; });
      if (ours) elsewhere.emplace(layer.digest.text(), name->repository);
    }
  }
  return elsewhere;
}

StatusOrFailure push(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const transport::RegistryName destination_name, destination_of(arguments));
  VARVE_ASSIGN(const LayerForm form, form_of(arguments));
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const transport::RegistryOptions registry, registry_options(arguments.registry, *monitor));
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image image, store.resolve(arguments.name));
  const transfer::GiveOutOptions options{.form = form, .level = arguments.level, .jobs = arguments.jobs};
  transport::RegistryDestination::Elsewhere elsewhere;
  if (form == LayerForm::kVarve) elsewhere = elsewhere_of(store, image, destination_name);
  VARVE_ASSIGN(const std::unique_ptr<transport::RegistryDestination> destination,
               transport::RegistryDestination::open(destination_name, std::move(elsewhere), registry));
  VARVE_ASSIGN(const transfer::GivenOut given,
               transfer::give_out(store, image, *destination, options, *monitor));
  VARVE_RETURN_IF_ERROR(write_digest_file(arguments.digest_file, given.manifest_digest.text()));
  if (arguments.json) {
    print(image::json_text({{"name", destination->name()},
                            {"digest", given.manifest_digest.text()},
                            {"image_id", given.config_digest.text()},
                            {"layers", image.layers.size()},
                            {"layers_written", given.layers_written},
                            {"bytes_written", given.bytes_written},
                            {"losses", given.losses}}) +
          "\n");
  } else {
    print(fmt::format("{} {} ({} of {} layers sent, {})\n", destination->name(), given.manifest_digest.text(),
                      given.layers_written, image.layers.size(), human_bytes(given.bytes_written)));
  }
  return {};
}

}  // namespace

void add_push(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("push", "Send an image of the store to a registry");
  command->add_option("NAME", arguments->name, "Image in the store")->required();
  command->add_option("DESTINATION", arguments->destination, "REGISTRY[:PORT]/NAME[:TAG] (default: NAME)");
  command
      ->add_option("--format", arguments->format,
                   "oci: tar layers, which everybody's tools read; varve: layers, manifest and digest as "
                   "they are in the "
                   "store, for other users of varve")
      ->check(CLI::IsMember({"oci", "varve"}))
      ->capture_default_str();
  command->add_option("--compress", arguments->compress, "Tar layers: gzip (default), zstd, none")
      ->check(CLI::IsMember({"gzip", "zstd", "none"}));
  command->add_option("--level", arguments->level, "gzip: 1 to 9 (default 6); zstd: 1 to 19 (default 3)")
      ->check(CLI::Range(1, 19));
  command->add_option("--jobs,-j", arguments->jobs, "Threads (default: one for each processor)")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--digestfile", arguments->digest_file, "Write the digest of what was pushed to this file")
      ->type_name("FILE");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_registry_flags(*command, arguments->registry);
  command->footer(
      "Example:\n  imagetool push app:1.0 registry.example:5000/team/app:1.0\n"
      "  imagetool push --format varve --digestfile digest app registry.example/team/app-varve:1.0");
  command->callback([arguments, &context] {
    run_command(context, "pushing an image", [&] { return push(*arguments, context); });
  });
}

}  // namespace varve::imagetool
