// imagetool gc

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {

void add_gc(CLI::App& app, Context& context) {
  auto options = std::make_shared<image::Store::GcOptions>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("gc", "Delete what no image and no container needs");
  command->add_flag("-n,--dry-run", options->dry_run, "Only tell what would be deleted");
  command->add_flag("--build-cache", options->build_cache,
                    "Also what `imagetool build` keeps so that it need not do its steps again");
  command->add_flag("--json", *json, "Tell the result as JSON");
  command->footer("Example:\n  imagetool gc --dry-run\n  imagetool gc --build-cache");
  command->callback([options, json, &context] {
    run_command(context, "collecting garbage", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(image::Store store, context.open_store());
      VARVE_ASSIGN(const image::Store::GcSummary summary, store.gc(*options));
      if (*json) {
        print(image::json_text({{"dry_run", options->dry_run},
                                {"blobs_removed", summary.blobs_removed},
                                {"bytes_removed", summary.bytes_removed},
                                {"blobs_kept", summary.blobs_kept}}) +
              "\n");
        return {};
      }
      print(fmt::format("{} {} blobs, {}; kept {}\n", options->dry_run ? "would delete" : "deleted",
                        summary.blobs_removed, human_bytes(summary.bytes_removed), summary.blobs_kept));
      return {};
    });
  });
}

}  // namespace varve::imagetool
