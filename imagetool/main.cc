// imagetool: builds layers, makes, shows, checks and commits images.

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "fs/base/log.h"
#include "imagetool/commands.h"

namespace varve::imagetool {
namespace {

void add_commands(CLI::App& app, Context& context) {
  app.add_option(
         "--store", context.store_directory,
         "Image store (default: $VARVE_STORE, else /var/lib/varve for root, else ~/.local/share/varve)")
      ->type_name("DIR");
  app.add_option("--progress", context.progress, "auto: a bar on a terminal; plain: lines; none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->capture_default_str();
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

int run(int argc, char** argv) {
  Context context;
  CLI::App app("Build layers; make, show, check and commit images.", "imagetool");
  app.set_version_flag("--version", std::string("imagetool ") + VARVE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Example:\n"
      "  imagetool import rootfs.tar.gz debian:12\n"
      "  varve run --name one debian:12 sh -c 'echo hello > /greeting'\n"
      "  imagetool commit one greeted\n"
      "\"imagetool COMMAND --help\" tells more. Exit status: 0 done, 1 failed, 2 wrong usage.");
  add_commands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "imagetool: command line: %s (\"imagetool COMMAND --help\" tells more)\n",
                 error.what());
    return 2;
  }
  return context.exit_status;
}

}  // namespace
}  // namespace varve::imagetool

// One descriptor is open for each directory on the way down: trees are taken 2000 deep, the usual limit is 1024 (getrlimit(2)).
static void raise_descriptor_limit() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  constexpr rlim_t kWanted = 4096;
  if (limit.rlim_cur >= kWanted) return;
  limit.rlim_cur = std::min(limit.rlim_max, kWanted);
  ::setrlimit(RLIMIT_NOFILE, &limit);  // what it does not allow is told when it is needed
}

int main(int argc, char** argv) {
  raise_descriptor_limit();
  // What is large goes back to the kernel when it is freed. By itself malloc would soon keep it: tables of a million files
  // that grow would leave behind a third of what they need. Source: mallopt(3), M_MMAP_THRESHOLD.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  varve::LogDestination log;
  log.program = "imagetool";
  varve::set_log_destination(log);
  varve::imagetool::install_interrupt_handlers();
  try {
    return varve::imagetool::run(argc, argv);
  } catch (const std::exception& error) {  // bad_alloc, or a bug
    std::fprintf(stderr, "imagetool: %s\n", error.what());
    return 1;
  }
}
