// imagetool layer extract FILE -o DIR | --tar FILE

#include "imagetool/image/layer_extract.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imagetool/commands.h"
#include "imagetool/image/atomic_file.h"

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

ResultOrFailure<image::ExtractSummary> write_tar_to_special(const layer::Layer& layer,
                                                            const std::string& path,
                                                            image::Monitor& monitor) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return failure_from(Errno::last(), path);
  return image::extract_to_tar(layer, file.get(), path, monitor);
}

// Under a temporary name beside `path` that is renamed once whole.
ResultOrFailure<image::ExtractSummary> write_tar_file(const layer::Layer& layer, const std::string& path,
                                                      image::Monitor& monitor) {
  std::string temporary = path + ".XXXXXX";
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.valid()) return failure_from(Errno::last(), path);
  const auto write = [&]() -> ResultOrFailure<image::ExtractSummary> {
    VARVE_ASSIGN(const image::ExtractSummary summary,
                 image::extract_to_tar(layer, file.get(), path, monitor));
    const mode_t mask = ::umask(0);
    ::umask(mask);
    if (::fchmod(file.get(), 0666 & ~mask) != 0 || ::fsync(file.get()) != 0 ||
        ::rename(temporary.c_str(), path.c_str()) != 0) {
      return failure_from(Errno::last(), path);
    }
    return summary;
  };
  auto summary = write();
  if (!summary.ok()) ::unlink(temporary.c_str());
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
    if (arguments.tar == "-")
      return image::extract_to_tar(*layer, STDOUT_FILENO, "standard output", *monitor);
    if (is_special(arguments.tar)) return write_tar_to_special(*layer, arguments.tar, *monitor);
    return write_tar_file(*layer, arguments.tar, *monitor);
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
      "Example:\n  imagetool layer extract base.layer -o tree/\n"
      "  imagetool layer extract base.layer --tar - | tar tv");
  command->callback([arguments, &context] {
    if (arguments->directory.empty() && arguments->tar.empty()) throw CLI::RequiredError("--output or --tar");
    run_command(context, "extracting a layer", [&] { return extract(*arguments, context); });
  });
}

}  // namespace varve::imagetool
