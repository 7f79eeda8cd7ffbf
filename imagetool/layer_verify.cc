// imagetool layer verify FILE...

#include "imagetool/image/layer_verify.h"

#include <fmt/format.h>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/verify_report.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::vector<std::string> files;
  std::vector<std::string> parents;
  bool json = false;
};

StatusOrFailure verify(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  quiet_damage_log();
  VARVE_ASSIGN(const auto below, layer::open_stack(arguments.parents, {}));
  image::Json all = image::Json::array();
  std::size_t bad = 0;
  for (const std::string& path : arguments.files) {
    VARVE_ASSIGN(const image::VerifyReport report, image::verify_layer(path, below, *monitor));
    if (!report.good()) ++bad;
    if (arguments.json) {
      all.push_back(report_json(path, report));
    } else {
      print(report_text(path, report));
    }
  }
  if (arguments.json) print(image::json_text(all, 2) + "\n");
  if (bad > 0) {
    return Failure{EUCLEAN, fmt::format("{} of {} layers are damaged (build or copy them again)", bad,
                                        arguments.files.size())};
  }
  return {};
}

}  // namespace

void add_layer_verify(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("verify", "Read layers whole and check every checksum in them");
  command->add_option("FILE", arguments->files, "Layer files")->required();
  command->add_flag("--json", arguments->json, "As a JSON array");
  add_parent_option(*command, arguments->parents);
  command->footer(
      "The digest of a file is not compared when hashing its holes would take too long (1 GiB in a file, 16 "
      "GiB in all);\n"
      "the report tells of how many. Their checksums are.\n"
      "Example:\n  imagetool layer verify base.layer\n  imagetool layer verify top.layer --parent "
      "base.layer");
  command->callback([arguments, &context] {
    run_command(context, "verifying a layer", [&] { return verify(*arguments, context); });
  });
}

}  // namespace varve::imagetool
