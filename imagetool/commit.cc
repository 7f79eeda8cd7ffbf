// imagetool commit CONTAINER|MOUNTPOINT|UPPER NAME
//
// What is in use stands still for as long as it takes to copy what was written; the layer is made of the copy.

#include <fmt/format.h>

#include <optional>

#include "imagetool/commands.h"
#include "imagetool/commit_plan.h"
#include "imagetool/image/layer_blob.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/made_image.h"
#include "imagetool/standstill.h"
#include "imagetool/upper_copy.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  CommitTarget target;
  std::string name;
  std::string message;
  bool json = false;
  BuildFlags build;
};

bool is_in_use(const std::string& upper) {
  return locker_of(upper).has_value();
}

ResultOrFailure<UpperCopy> copy_what_was_written(const CommitPlan& plan, image::Store& store) {
  VARVE_ASSIGN(const std::string scratch, store.scratch_directory());
  VARVE_ASSIGN(const std::unique_ptr<Standstill> still,
               Standstill::begin(plan.upper, store.directory(), plan.container ? &*plan.container : nullptr));
  return UpperCopy::make(plan.upper, plan.work, scratch);
}

std::string name_or_digest(const image::Image& image) {
  return image.name.empty() ? image.digest.text() : image.name;
}

StatusOrFailure commit(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::ImageName name, image::parse_image_name(arguments.name));
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const image::BuildOptions options, build_options(arguments.build, ""));
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(CommitPlan plan, make_commit_plan(arguments.target, store));
  image::WrittenUpper written{plan.upper, plan.work, {plan.parent.layers, plan.parent.layer_paths}};
  std::optional<UpperCopy> copy;
  if (!plan.work.empty() && is_in_use(plan.upper)) {
    VARVE_ASSIGN(UpperCopy made, copy_what_was_written(plan, store));
    copy.emplace(std::move(made));
    written.upper = copy->upper();
    written.work = copy->work();
  }
  VARVE_ASSIGN(const image::Descriptor layer, image::build_upper_blob(store, written, options, *monitor));

  image::ImageConfig config = plan.parent.config;
  config.created = creation_time(options);
  config.history.push_back(
      {.created = config.created, .created_by = plan.created_by, .author = "", .comment = arguments.message});
  std::vector<image::Descriptor> layers = plan.parent.layers;
  layers.push_back(layer);
  VARVE_ASSIGN(const image::Image image, store.put_image(name, std::move(config), layers));
  print_made_image(image, arguments.json,
                   {{"parent", name_or_digest(plan.parent)},
                    {"layer", layer.digest.text()},
                    {"layer_bytes", layer.size_bytes}},
                   fmt::format("{} over {} layers of {}", human_bytes(layer.size_bytes), layers.size() - 1,
                               printable(name_or_digest(plan.parent))));
  return {};
}

}  // namespace

void add_commit(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("commit", "Make an image of what was written over one");
  command
      ->add_option("CONTAINER|MOUNTPOINT|UPPER", arguments->target.target,
                   "A container, the mount point of a varvefs, or the upper directory of one")
      ->required();
  command->add_option("NAME", arguments->name, "NAME[:TAG] of the new image")->required();
  command->add_option("-m,--message", arguments->message, "Comment for the history");
  command->add_option("--parent", arguments->target.parent, "For an UPPER: the image it was mounted over")
      ->type_name("IMAGE");
  command
      ->add_option("--work", arguments->target.work,
                   "For an UPPER: its work directory (default: \"work\" beside it)")
      ->type_name("DIR");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_layer_flags(*command, arguments->build, "zstd level, 1 to 19 (default 3)");
  command->footer(
      "The layers of the image below, its configuration and history are carried on. A container that runs, "
      "and an upper that is\n"
      "mounted, stand still for as long as it takes to copy what was written; then they go on. For a "
      "MOUNTPOINT the image below is\n"
      "the one whose layers are mounted there; of several that have them, the one it was mounted by, else "
      "the "
      "first by name.\n"
      "Example:\n  imagetool commit web web:tuned -m 'bigger buffers'\n"
      "  imagetool commit /mnt mine:2\n"
      "  imagetool commit ./upper mine:2 --parent mine:1");
  command->callback([arguments, &context] {
    run_command(context, "committing", [&] { return commit(*arguments, context); });
  });
}

}  // namespace varve::imagetool
