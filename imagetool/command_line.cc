#include "imagetool/command_line.h"

#include <string>

namespace varve::imagetool {
namespace {

void add_layer_commands(CLI::App& app, Context& context) {
  CLI::App* layer = app.add_subcommand("layer", "Build and look into single layer files");
  layer->require_subcommand(1);
  layer->fallthrough();
  layer->footer("Example:\n  imagetool layer build rootfs/ -o base.layer");
  add_layer_build(*layer, context);
  add_layer_inspect(*layer, context);
  add_layer_ls(*layer, context);
  add_layer_tree(*layer, context);
  add_layer_cat(*layer, context);
  add_layer_extract(*layer, context);
  add_layer_diff(*layer, context);
  add_layer_verify(*layer, context);
}

}  // namespace

void declare_command_line(CLI::App& app, Context& context) {
  app.name("imagetool");
  app.description("Build layers; make, show, check and commit images.");
  app.set_version_flag("--version", std::string("imagetool ") + VARVE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Example:\n"
      "  imagetool import rootfs.tar.gz debian:12\n"
      "  varve run --name one debian:12 sh -c 'echo hello > /greeting'\n"
      "  imagetool commit one greeted\n"
      "\"imagetool COMMAND --help\" tells more. Exit status: 0 done, 1 failed, 2 wrong usage.");

  app.add_option(
         "--store", context.store_directory,
         "Image store (default: $VARVE_STORE, else /var/lib/varve for root, else ~/.local/share/varve)")
      ->type_name("DIR");
  app.add_option("--progress", context.progress, "auto: a bar on a terminal; plain: lines; none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->capture_default_str();
  add_layer_commands(app, context);
  add_import(app, context);
  add_build(app, context);
  add_pull(app, context);
  add_push(app, context);
  add_commit(app, context);
  add_images(app, context);
  add_inspect(app, context);
  add_history(app, context);
  add_tag(app, context);
  add_rm(app, context);
  add_verify(app, context);
  add_diff(app, context);
  add_squash(app, context);
  add_stats(app, context);
  add_mount(app, context);
  add_umount(app, context);
  add_gc(app, context);
  add_export(app, context);
}

}  // namespace varve::imagetool
