// imagetool layer build SRC -o FILE

#include <fmt/format.h>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string output;
  std::vector<std::string> parents;
  bool json = false;
  BuildFlags build;
};

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void report(const Arguments& arguments, const image::LayerWriter::Summary& summary) {
  if (arguments.json) {
    print(image::json_text({{"output", arguments.output},
                            {"files", summary.files},
                            {"content_bytes", summary.content_bytes},
                            {"data_bytes", summary.data_bytes},
                            {"duplicate_bytes", summary.duplicate_bytes},
                            {"stored_bytes", summary.stored_bytes},
                            {"file_bytes", summary.file_bytes},
                            {"root_hash", summary.root_hash},
                            {"seconds", summary.seconds}}) +
          "\n");
    return;
  }
  const double ratio = summary.file_bytes == 0 ? 0
                                               : static_cast<double>(summary.content_bytes) /
                                                     static_cast<double>(summary.file_bytes);
  const std::string copies = summary.duplicate_bytes == 0 ? ""
                                                          : fmt::format(", {} of copies stored once",
                                                                        human_bytes(summary.duplicate_bytes));
  print(fmt::format("{}: {} files, {} of content in {} ({:.2f} to 1){}, {:.1f} s\n",
                    printable(arguments.output), summary.files, human_bytes(summary.content_bytes),
                    human_bytes(summary.file_bytes), ratio, copies, summary.seconds));
}

StatusOrFailure build(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::BuildOptions options, build_options(arguments.build, arguments.output));
  std::unique_ptr<image::ParentFiles> parents;
  if (!arguments.parents.empty()) {
    VARVE_ASSIGN(auto stack, layer::open_stack(arguments.parents, {}));
    VARVE_ASSIGN(parents, image::ParentFiles::make(std::move(stack), {}));
    options.parents = parents.get();
  }
  VARVE_ASSIGN(const std::unique_ptr<image::TreeSource> source,
               open_source(arguments.source, arguments.build, directory_of(arguments.output), *monitor));
  VARVE_ASSIGN(const image::LayerWriter::Summary summary, image::build_layer(*source, options, *monitor));
  report(arguments, summary);
  return {};
}

}  // namespace

void add_layer_build(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("build", "Make a layer file of a directory or a tar archive");
  command
      ->add_option("SRC", arguments->source,
                   "Directory, tar archive (plain or compressed), or - for standard input")
      ->required();
  command->add_option("-o,--output", arguments->output, "Layer file to write")->required()->type_name("FILE");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_parent_option(*command, arguments->parents);
  add_build_flags(*command, arguments->build);
  command->footer(
      "Example:\n  imagetool layer build rootfs/ -o base.layer --exclude 'var/cache/*'\n"
      "  tar c rootfs | imagetool layer build - -o base.layer --level 9\n"
      "  imagetool layer build changed/ -o top.layer --parent base.layer    # stores only what base.layer "
      "has not");
  command->callback([arguments, &context] {
    run_command(context, "building a layer", [&] { return build(*arguments, context); });
  });
}

}  // namespace varve::imagetool
