// imagetool gc

#include <fmt/format.h>

#include "imagetool/commands.h"

namespace varve::imagetool {

void add_gc(CLI::App& app, Context& context) {
  auto options = std::make_shared<image::Store::GcOptions>();
  CLI::App* command = app.add_subcommand("gc", "Delete what no image and no container needs");
  command->add_flag("-n,--dry-run", options->dry_run, "Only tell what would be deleted");
  command->add_flag("--build-cache", options->build_cache,
                    "Also what `imagetool build` keeps so that it need not do its steps again");
  command->footer("Example:\n  imagetool gc --dry-run\n  imagetool gc --build-cache");
  command->callback([options, &context] {
    run_command(context, "collecting garbage", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(image::Store store, context.open_store());
      VARVE_ASSIGN(const image::Store::GcSummary summary, store.gc(*options));
      print(fmt::format("{} {} blobs, {}; kept {}\n", options->dry_run ? "would delete" : "deleted",
                        summary.blobs_removed, human_bytes(summary.bytes_removed), summary.blobs_kept));
      return {};
    });
  });
}

}  // namespace varve::imagetool
