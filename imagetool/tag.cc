// imagetool tag NAME NEW

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {

void add_tag(CLI::App& app, Context& context) {
  struct Arguments {
    std::string name;
    std::string new_name;
    bool json = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tag", "Give an image another name");
  command->add_option("NAME", arguments->name, "NAME[:TAG] or digest")->required();
  command->add_option("NEW", arguments->new_name, "NAME[:TAG]; taken from the image that had it")->required();
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  command->footer("Example:\n  imagetool tag debian:12 debian:stable");
  command->callback([arguments, &context] {
    run_command(context, "naming an image", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(const image::ImageName new_name, image::parse_image_name(arguments->new_name));
      VARVE_ASSIGN(image::Store store, context.open_store());
      VARVE_ASSIGN(const image::IndexEntry entry, store.tag(arguments->name, new_name));
      if (arguments->json)
        print(image::json_text({{"name", entry.name}, {"digest", entry.digest.text()}}) + "\n");
      return {};
    });
  });
}

}  // namespace varve::imagetool
