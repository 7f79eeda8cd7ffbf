// imagetool layer tree FILE [PATH]

#include <fmt/format.h>
#include <sys/stat.h>

#include "imagetool/commands.h"
#include "imagetool/image/layer_walk.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> parents;
  std::size_t depth = 0;
};

std::string name_line(const layer::Layer& layer, const image::LayerVisit& at) {
  const std::size_t slash = at.path.rfind('/');
  std::string line = printable(slash == std::string::npos ? at.path : at.path.substr(slash + 1));
  if (at.entry.kind == layer::Entry::Kind::kWhiteout) return line + " (deleted)";
  if (S_ISDIR(at.entry.type)) line += "/";
  if (S_ISLNK(at.entry.type)) {
    const Result<std::string> target = layer.read_link(at.entry.id);
    line += " -> " + (target.ok() ? printable(*target) : std::string("?"));
  }
  return line;
}

StatusOrFailure draw(const Arguments& arguments) {
  VARVE_ASSIGN(const std::shared_ptr<layer::Layer> layer,
               open_for_reading(arguments.file, arguments.parents));
  std::vector<bool> closed;  // by depth: the directory there showed its last name
  return image::walk_layer(*layer, [&](const image::LayerVisit& at) -> ResultOrFailure<bool> {
    const bool enter = arguments.depth == 0 || at.depth < arguments.depth;
    if (at.depth == 0) {
      print("/\n");
      return enter;
    }
    closed.resize(at.depth + 1);
    closed[at.depth] = at.last;
    std::string indent;
    for (std::size_t level = 1; level < at.depth; ++level) indent += closed[level] ? "    " : "│   ";
    print(indent + (at.last ? "└── " : "├── ") + name_line(*layer, at) + "\n");
    return enter;
  });
}

}  // namespace

void add_layer_tree(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("tree", "Draw the names in a layer as a tree");
  command->add_option("FILE", arguments->file, "Layer file or directory")->required();
  command->add_option("-L,--depth", arguments->depth, "No deeper than this many levels")
      ->check(CLI::PositiveNumber);
  add_parent_option(*command, arguments->parents);
  command->footer("Example:\n  imagetool layer tree -L 2 base.layer");
  command->callback(
      [arguments, &context] { run_command(context, "drawing a layer", [&] { return draw(*arguments); }); });
}

}  // namespace varve::imagetool
