// imagetool gc

#include <fmt/format.h>

#include "imagetool/commands.h"

namespace varve::imagetool {

void add_gc(CLI::App& app, Context& context) {
  auto dry_run = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("gc", "Delete what no image and no container needs");
  command->add_flag("-n,--dry-run", *dry_run, "Only tell what would be deleted");
  command->footer("Example:\n  imagetool gc --dry-run");
  command->callback([dry_run, &context] {
    run_command(context, "collecting garbage", [&]() -> StatusOrFailure {
      VARVE_ASSIGN(image::Store store, context.open_store());
      VARVE_ASSIGN(const image::Store::GcSummary summary, store.gc(*dry_run));
      print(fmt::format("{} {} blobs, {}; kept {}\n", *dry_run ? "would delete" : "deleted",
                        summary.blobs_removed, human_bytes(summary.bytes_removed), summary.blobs_kept));
      return {};
    });
  });
}

}  // namespace varve::imagetool
