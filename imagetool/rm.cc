// imagetool rm NAME...

#include "imagetool/commands.h"

namespace varve::imagetool {

void add_rm(CLI::App& app, Context& context) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("rm", "Take the name from images; gc frees the space");
  command->add_option("NAME", *names, "NAME[:TAG], or a digest for all names of the image")->required();
  command->footer("Example:\n  imagetool rm debian:12 && imagetool gc");
  command->callback([names, &context] {
    run_command(context, "removing an image", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(image::Store store, context.open_store());
      for (const std::string& name : *names) VARVE_RETURN_IF_ERROR(store.remove(name));
      return {};
    });
  });
}

}  // namespace varve::imagetool
