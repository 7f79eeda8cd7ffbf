// imagetool layer inspect FILE...

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>

#include "fs/format/layer_decode.h"
#include "fs/layer/layer_file.h"
#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

using image::Json;

struct Arguments {
  std::vector<std::string> files;
  bool json = false;
};

struct Counts {
  std::uint64_t regular = 0, directories = 0, links = 0, others = 0, whiteouts = 0, opaque = 0, deltas = 0;
  std::uint64_t parent_extents = 0, parent_bytes = 0;  // that lie in frames of parents
};

Counts count(const format::LayerTables& tables) {
  Counts counts;
  for (std::size_t i = format::kRootInode; i < tables.inodes.size(); ++i) {
    const format::Inode& inode = tables.inodes[i];
    switch (inode.mode & S_IFMT) {
      case S_IFREG:
        ++counts.regular;
        break;
      case S_IFDIR:
        ++counts.directories;
        break;
      case S_IFLNK:
        ++counts.links;
        break;
      default:
        ++counts.others;
        break;
    }
    if ((inode.flags & format::kInodeOpaque) != 0) ++counts.opaque;
    if ((inode.flags & format::kInodeDelta) != 0) ++counts.deltas;
  }
  for (const format::Extent& extent : tables.extents) {
    if (format::extent_source(extent.source_word) == 0) continue;
    ++counts.parent_extents;
    counts.parent_bytes += extent.length;
  }
  for (const format::Dirent& entry : tables.dirents) counts.whiteouts += format::is_whiteout(entry) ? 1 : 0;
  return counts;
}

// Nearest first.
Json parents_of(const format::LayerTables& tables) {
  Json parents = Json::array();
  for (std::size_t i = 1; i < tables.parents.size(); ++i) {
    const format::Parent& parent = tables.parents[i];
    std::string sha256;
    for (const unsigned char byte : parent.sha256) sha256 += fmt::format("{:02x}", byte);
    parents.push_back({{"sha256", sha256}, {"root_hash", format::to_hex(parent.root_hash)}});
  }
  return parents;
}

Json describe(const layer::LayerFile& layer) {
  const format::LayerFooter& footer = layer.footer();
  const Counts counts = count(layer.tables());
  Json json = {{"path", layer.name()},
               {"version", fmt::format("{}.{}", footer.major_version.get(), footer.minor_version.get())},
               {"root_hash", layer.identity().value},
               {"file_bytes", footer.file_size.get()},
               {"content_bytes", footer.content_bytes.get()},
               {"data_bytes", footer.data_end.get() - format::kDataOffset},
               {"metadata_bytes", footer.file_size.get() - footer.data_end.get()},
               {"frame_bytes", layer.tables().run_frame_bytes},
               {"frames", footer.frame_count.get()},
               {"extents", footer.extent_count.get()},
               {"names", footer.dirent_count.get()},
               {"regular_files", counts.regular},
               {"directories", counts.directories},
               {"symbolic_links", counts.links},
               {"other_objects", counts.others},
               {"whiteouts", counts.whiteouts},
               {"opaque_directories", counts.opaque},
               {"delta_files", counts.deltas},
               {"parent_extents", counts.parent_extents},
               {"parent_bytes", counts.parent_bytes},
               {"parents", parents_of(layer.tables())}};
  auto meta = image::parse_json_object(layer.tables().meta);
  if (meta.ok()) json["made_by"] = std::move(meta).value();
  return json;
}

void print_text(const Json& layer) {
  const auto number = [&](const char* key) { return layer[key].get<std::uint64_t>(); };
  print(fmt::format("{}\n", printable(layer["path"].get<std::string>())));
  print(fmt::format("  format      varve layer {}\n", layer["version"].get<std::string>()));
  print(fmt::format("  root hash   {}\n", layer["root_hash"].get<std::string>()));
  print(fmt::format("  size        {} ({} bytes): data {}, metadata {}\n", human_bytes(number("file_bytes")),
                    number("file_bytes"), human_bytes(number("data_bytes")),
                    human_bytes(number("metadata_bytes"))));
  print(fmt::format("  content     {} ({} bytes)\n", human_bytes(number("content_bytes")),
                    number("content_bytes")));
  print(fmt::format("  objects     {} files, {} directories, {} symbolic links, {} others; {} names\n",
                    number("regular_files"), number("directories"), number("symbolic_links"),
                    number("other_objects"), number("names")));
  print(fmt::format("  changes     {} whiteouts, {} opaque directories, {} delta files\n",
                    number("whiteouts"), number("opaque_directories"), number("delta_files")));
  if (number("parent_extents") > 0) {
    print(fmt::format("  in parents  {} ({} bytes) in {} extents\n", human_bytes(number("parent_bytes")),
                      number("parent_bytes"), number("parent_extents")));
  }
  for (const Json& parent : layer["parents"]) {
    print(fmt::format("  parent      {} (sha256:{})\n", parent["root_hash"].get<std::string>(),
                      parent["sha256"].get<std::string>()));
  }
  print(fmt::format("  frames      {}, large files in {} bytes; {} extents\n", number("frames"),
                    number("frame_bytes"), number("extents")));
  if (layer.contains("made_by")) print(fmt::format("  made by     {}\n", image::json_text(layer["made_by"])));
}

StatusOrFailure inspect(const Arguments& arguments) {
  Json all = Json::array();
  for (const std::string& path : arguments.files) {
    VARVE_ASSIGN(const std::unique_ptr<layer::LayerFile> layer,
                 layer::LayerFile::open(path, {.lazy_from_bytes = UINT64_MAX}));
    all.push_back(describe(*layer));
  }
  if (arguments.json) {
    print(image::json_text(all, 2) + "\n");
  } else {
    for (const Json& one : all) print_text(one);
  }
  return {};
}

}  // namespace

void add_layer_inspect(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("inspect", "Tell what a layer file holds, in numbers");
  command->add_option("FILE", arguments->files, "Layer files")->required();
  command->add_flag("--json", arguments->json, "As a JSON array");
  command->footer("Example:\n  imagetool layer inspect base.layer --json");
  command->callback([arguments, &context] {
    run_command(context, "inspecting a layer", [&] { return inspect(*arguments); });
  });
}

}  // namespace varve::imagetool
