// imagetool diff A B, imagetool layer diff A B

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/union_difference.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string before;
  std::string after;
  std::vector<std::string> parents;  // of layers
  bool json = false;
};

// Prints each change as it is found, or keeps it for JSON.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void take(const image::PathChange& change) {
    Count& count = counts_.at(static_cast<std::size_t>(change.kind));
    ++count.paths;
    const bool is_changed = change.kind == image::PathChange::Kind::kChanged;
    if (!is_changed || change.content) count.bytes += std::max(change.bytes_before, change.bytes_after);
    if (json_) {
      all_.push_back({{"kind", kNames.at(static_cast<std::size_t>(change.kind))},
                      {"path", change.path},
                      {"bytes_before", change.bytes_before},
                      {"bytes_after", change.bytes_after},
                      {"content", change.content},
                      {"attributes", change.attributes},
                      {"xattrs", change.xattrs}});
      return;
    }
    print(fmt::format("{}  {:>20}  {}\n", "ACD"[static_cast<std::size_t>(change.kind)], sizes(change),
                      printable(change.path)));
  }

  void finish() const {
    if (json_) return print(image::json_text(all_, 2) + "\n");
    print(fmt::format("{} added ({}), {} changed ({}), {} removed ({})\n", counts_[0].paths,
                      human_bytes(counts_[0].bytes), counts_[1].paths, human_bytes(counts_[1].bytes),
                      counts_[2].paths, human_bytes(counts_[2].bytes)));
  }

 private:
  struct Count {
    std::uint64_t paths = 0;
    std::uint64_t bytes = 0;
  };
  static constexpr std::array<const char*, 3> kNames = {"added", "changed", "removed"};

  static std::string sizes(const image::PathChange& change) {
    switch (change.kind) {
      case image::PathChange::Kind::kAdded:
        return human_bytes(change.bytes_after);
      case image::PathChange::Kind::kRemoved:
        return human_bytes(change.bytes_before);
      case image::PathChange::Kind::kChanged:
        break;
    }
    if (!change.content) return change.attributes ? "attributes" : "xattrs";
    if (change.bytes_before == change.bytes_after) return human_bytes(change.bytes_after);
    return fmt::format("{} -> {}", human_bytes(change.bytes_before), human_bytes(change.bytes_after));
  }

  const bool json_;
  image::Json all_ = image::Json::array();
  std::array<Count, 3> counts_{};
};

StatusOrFailure compare(const image::LayerUnion& before, const image::LayerUnion& after, bool json) {
  Report report(json);
  VARVE_RETURN_IF_ERROR(
      image::compare_unions(before, after, [&](const image::PathChange& change) { report.take(change); }));
  report.finish();
  return {};
}

ResultOrFailure<image::LayerUnion> open_image(const image::Store& store, const std::string& reference) {
  VARVE_ASSIGN(const image::Image found, store.resolve(reference));
  const std::vector<std::string> paths(found.layer_paths.rbegin(), found.layer_paths.rend());
  VARVE_ASSIGN(auto stack, layer::open_stack(paths, {}));
  return image::LayerUnion(std::move(stack));
}

StatusOrFailure diff_images(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  VARVE_ASSIGN(const image::LayerUnion before, open_image(store, arguments.before));
  VARVE_ASSIGN(const image::LayerUnion after, open_image(store, arguments.after));
  return compare(before, after, arguments.json);
}

StatusOrFailure diff_layers(const Arguments& arguments) {
  VARVE_ASSIGN(auto before, open_for_reading(arguments.before, arguments.parents));
  VARVE_ASSIGN(auto after, open_for_reading(arguments.after, arguments.parents));
  return compare(image::LayerUnion({std::move(before)}), image::LayerUnion({std::move(after)}),
                 arguments.json);
}

constexpr const char* kLines = "A added, C changed, D removed; sizes are those of regular files.\n";

}  // namespace

void add_diff(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("diff", "Tell what differs between two images, path by path");
  command->add_option("A", arguments->before, "NAME[:TAG] or digest")->required();
  command->add_option("B", arguments->after, "NAME[:TAG] or digest")->required();
  command->add_flag("--json", arguments->json, "As a JSON array");
  command->footer(std::string(kLines) + "Example:\n  imagetool diff debian:12 debian:tuned");
  command->callback([arguments, &context] {
    run_command(context, "comparing images", [&] { return diff_images(*arguments, context); });
  });
}

void add_layer_diff(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("diff", "Tell what differs between two layers, path by path");
  command->add_option("A", arguments->before, "Layer file or directory")->required()->type_name("LAYER");
  command->add_option("B", arguments->after, "Layer file or directory")->required()->type_name("LAYER");
  add_parent_option(*command, arguments->parents);
  command->add_flag("--json", arguments->json, "As a JSON array");
  command->footer(std::string(kLines) + "Example:\n  imagetool layer diff old.layer new.layer");
  command->callback([arguments, &context] {
    run_command(context, "comparing layers", [&] { return diff_layers(*arguments); });
  });
}

}  // namespace varve::imagetool
