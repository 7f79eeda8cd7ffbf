// imagetool rm NAME...

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {

void add_rm(CLI::App& app, Context& context) {
  struct Arguments {
    std::vector<std::string> names;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("rm", "Take the name from images; gc frees the space");
  command->add_option("NAME", arguments->names, "NAME[:TAG], or a digest for all names of the image")
      ->required();
  command->add_flag("--json", arguments->json, "What was removed as a JSON array");
  command->footer("Example:\n  imagetool rm debian:12 && imagetool gc");
  command->callback([arguments, &context] {
    run_command(context, "removing an image", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(image::Store store, context.open_store());
      image::Json removed = image::Json::array();
      StatusOrFailure outcome;
      for (const std::string& name : arguments->names) {
        auto entry = store.remove(name);
        if (!entry.ok()) {
          outcome = std::move(entry).error();
          break;
        }
        removed.push_back({{"name", entry->name}, {"digest", entry->digest.text()}});
      }
      if (arguments->json) print(image::json_text(removed, 2) + "\n");
      return outcome;
    });
  });
}

}  // namespace varve::imagetool
