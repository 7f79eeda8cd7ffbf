// imagetool layer cat FILE PATH...

#include <sys/stat.h>

#include <cstdio>

#include "imagetool/commands.h"
#include "imagetool/image/layer_walk.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> parents;
  std::vector<std::string> paths;
};

StatusOrFailure copy_out(const layer::Layer& layer, const std::string& path, const image::Monitor& monitor) {
  const std::string where = layer.name() + ": " + path;
  VARVE_ASSIGN(const LowerId id, image::find_in_layer(layer, path));
  const Result<Attributes> attributes = layer.attributes(id);
  if (!attributes.ok()) return failure_from(attributes.error(), where);
  if (!attributes->is_regular()) return Failure{EINVAL, where + ": not a regular file"};
  const Result<std::unique_ptr<layer::LowerFile>> file = layer.open_file(id);
  if (!file.ok()) return failure_from(file.error(), where);
  std::vector<std::byte> buffer(1 << 20);
  for (std::uint64_t offset = 0;;) {
    if (monitor.cancelled()) return image::cancelled_failure();
    const Result<std::size_t> got = (*file)->read(offset, buffer);
    if (!got.ok()) return failure_from(got.error(), where);
    if (*got == 0) return {};
    if (std::fwrite(buffer.data(), 1, *got, stdout) != *got)
      return failure_from(Errno::last(), "standard output");
    offset += *got;
  }
}

}  // namespace

void add_layer_cat(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("cat", "Write files of a layer to standard output");
  command->add_option("FILE", arguments->file, "Layer file or directory")->required();
  command->add_option("PATH", arguments->paths, "Files in it")->required();
  add_parent_option(*command, arguments->parents);
  command->footer("Example:\n  imagetool layer cat base.layer /etc/os-release");
  command->callback([arguments, &context] {
    run_command(context, "reading a layer", [&]() -> StatusOrFailure {
      const auto monitor = context.monitor();
      VARVE_ASSIGN(const std::shared_ptr<layer::Layer> opened,
                   open_for_reading(arguments->file, arguments->parents));
      for (const std::string& path : arguments->paths)
        VARVE_RETURN_IF_ERROR(copy_out(*opened, path, *monitor));
      return {};
    });
  });
}

}  // namespace varve::imagetool
