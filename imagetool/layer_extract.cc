// imagetool layer extract FILE -o DIR | --tar FILE

#include "imagetool/image/extract/layer_extract.h"

#include "imagetool/commands.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> parents;
  std::string directory;
  std::string tar;
};

ResultOrFailure<image::ExtractSummary> write_tar(const std::string& path, const layer::Layer& layer,
                                                 image::Monitor& monitor) {
  VARVE_ASSIGN(const auto output, open_output(path));
  VARVE_ASSIGN(const image::ExtractSummary summary, image::extract_to_tar(layer, *output, monitor));
  VARVE_RETURN_IF_ERROR(output->publish());
  return summary;
}

StatusOrFailure extract(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const std::shared_ptr<layer::Layer> layer,
               open_for_reading(arguments.file, arguments.parents));
  monitor->begin("extracting", 0);
  const auto run = [&]() -> ResultOrFailure<image::ExtractSummary> {
    if (!arguments.directory.empty())
      return image::extract_to_directory(*layer, arguments.directory, *monitor);
    return write_tar(arguments.tar, *layer, *monitor);
  };
  VARVE_ASSIGN(const image::ExtractSummary summary, run());
  monitor->end();
  return check_losses(arguments.file, summary.losses);
}

}  // namespace

void add_layer_extract(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("extract", "Unpack a layer into a directory or a tar archive");
  command->add_option("FILE", arguments->file, "Layer file or directory")->required();
  CLI::Option* directory =
      command->add_option("-o,--output", arguments->directory, "New or empty directory")->type_name("DIR");
  CLI::Option* tar =
      command->add_option("--tar", arguments->tar, "Archive to write (pax), - for standard output")
          ->type_name("FILE");
  directory->excludes(tar);
  add_parent_option(*command, arguments->parents);
  command->footer(
      "Deleted names become whiteouts as overlayfs has them (directory) or OCI layers (archive).\n"
      "An archive is in pax format; files with holes are sparse members as GNU tar writes them.\n"
      "Example:\n  imagetool layer extract base.layer -o tree/\n"
      "  imagetool layer extract base.layer --tar - | tar tv");
  command->callback([arguments, &context] {
    if (arguments->directory.empty() && arguments->tar.empty()) throw CLI::RequiredError("--output or --tar");
    run_command(context, "extracting a layer", [&] { return extract(*arguments, context); });
  });
}

}  // namespace varve::imagetool
