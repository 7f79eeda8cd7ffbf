// imagetool layer extract FILE -o DIR | --tar FILE

#include "imagetool/image/extract/layer_extract.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imagetool/commands.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "imagetool/image/writer/layer_output_stream.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> parents;
  std::string directory;
  std::string tar;
};

// A device or fifo is written to, never replaced.
bool is_special(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

ResultOrFailure<image::ExtractSummary> write_tar(const layer::Layer& layer, image::LayerOutput& output,
                                                 image::Monitor& monitor) {
  VARVE_ASSIGN(const image::ExtractSummary summary, image::extract_to_tar(layer, output, monitor));
  VARVE_RETURN_IF_ERROR(output.publish());
  return summary;
}

ResultOrFailure<image::ExtractSummary> write_tar_to(const std::string& path, const layer::Layer& layer,
                                                    image::Monitor& monitor) {
  if (path != "-" && !is_special(path)) {
    VARVE_ASSIGN(const auto file, image::LayerOutputFile::create(path));
    return write_tar(layer, *file, monitor);
  }
  UniqueFd special;
  if (path != "-") {
    special.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!special.valid()) return failure_from(Errno::last(), path);
  }
  image::LayerOutputStream stream(special.valid() ? special.get() : STDOUT_FILENO,
                                  special.valid() ? path : "standard output");
  return write_tar(layer, stream, monitor);
}

StatusOrFailure extract(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const std::shared_ptr<layer::Layer> layer,
               open_for_reading(arguments.file, arguments.parents));
  monitor->begin("extracting", 0);
  const auto run = [&]() -> ResultOrFailure<image::ExtractSummary> {
    if (!arguments.directory.empty())
      return image::extract_to_directory(*layer, arguments.directory, *monitor);
    return write_tar_to(arguments.tar, *layer, *monitor);
  };
  VARVE_ASSIGN(const image::ExtractSummary summary, run());
  monitor->end();
  if (summary.losses > 0) {
    return Failure{EPERM, fmt::format("{}: {} things could not be written as they are, each named above",
                                      arguments.file, summary.losses)};
  }
  return {};
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
