// imagetool history NAME

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string name;
  bool json = false;
};

struct Line {
  image::HistoryEntry entry;
  std::string layer;  // digest; empty for an entry without a layer
  std::uint64_t bytes = 0;
};

// Newest first. An image whose history tells fewer layers than it has shows the rest without a tale.
std::vector<Line> lines_of(const image::Image& image) {
  std::vector<Line> lines;
  std::size_t next_layer = 0;
  const auto take_layer = [&](Line& line) {
    if (next_layer >= image.layers.size()) return;
    line.layer = image.layers[next_layer].digest.text();
    line.bytes = image.layers[next_layer++].size_bytes;
  };
  for (const image::HistoryEntry& entry : image.config.history) {
    Line line{entry, "", 0};
    if (!entry.empty_layer) take_layer(line);
    lines.push_back(std::move(line));
  }
  while (next_layer < image.layers.size()) take_layer(lines.emplace_back());
  return {lines.rbegin(), lines.rend()};
}

StatusOrFailure show(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image image, store.resolve(arguments.name));
  image::Json all = image::Json::array();
  if (!arguments.json)
    print(fmt::format("{:<20}  {:<12}  {:>8}  {}\n", "CREATED", "LAYER", "SIZE", "CREATED BY"));
  for (const Line& line : lines_of(image)) {
    if (arguments.json) {
      all.push_back({{"created", line.entry.created},
                     {"created_by", line.entry.created_by},
                     {"comment", line.entry.comment},
                     {"layer", line.layer},
                     {"bytes", line.bytes}});
      continue;
    }
    const std::string layer = line.layer.empty() ? "-" : line.layer.substr(line.layer.find(':') + 1, 12);
    std::string tale = printable(line.entry.created_by);
    if (!line.entry.comment.empty()) tale += (tale.empty() ? "# " : "  # ") + printable(line.entry.comment);
    print(fmt::format("{:<20}  {:<12}  {:>8}  {}\n", printable(line.entry.created), layer,
                      human_bytes(line.bytes), tale));
  }
  if (arguments.json) print(image::json_text(all, 2) + "\n");
  return {};
}

}  // namespace

void add_history(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("history", "Tell how an image came to be, newest first");
  command->add_option("NAME", arguments->name, "NAME[:TAG] or digest")->required();
  command->add_flag("--json", arguments->json, "As a JSON array");
  command->footer("Example:\n  imagetool history debian:12");
  command->callback([arguments, &context] {
    run_command(context, "telling the history", [&] { return show(*arguments, context); });
  });
}

}  // namespace varve::imagetool
