// imagetool layer build SRC -o FILE

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/source/layer_source.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::vector<std::string> sources;
  std::string output;
  std::vector<std::string> parents;
  std::vector<std::string> bases;
  bool difference = false;
  bool flatten = false;
  std::string dedup;
  bool json = false;
  bool dry_run = false;
  BuildFlags build;
};

bool goes_to_standard_output(const Arguments& arguments) {
  return !arguments.dry_run && arguments.output == "-";
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Where a tar stream is kept while it is read twice.
std::string spool_directory(const Arguments& arguments) {
  if (!arguments.dry_run && arguments.output != "-") return directory_of(arguments.output);
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/tmp";
}

// On standard error when the layer itself is on standard output.
void tell(const Arguments& arguments, const std::string& text) {
  if (goes_to_standard_output(arguments)) {
    std::fputs(text.c_str(), stderr);
  } else {
    print(text);
  }
}

void report(const Arguments& arguments, const image::LayerWriter::Summary& summary) {
  if (arguments.json) {
    tell(arguments, image::json_text({{"output", arguments.output},
                                      {"dry_run", arguments.dry_run},
                                      {"files", summary.files},
                                      {"content_bytes", summary.content_bytes},
                                      {"data_bytes", summary.data_bytes},
                                      {"duplicate_bytes", summary.duplicate_bytes},
                                      {"parent_bytes", summary.parent_bytes},
                                      {"stored_bytes", summary.stored_bytes},
                                      {"file_bytes", summary.file_bytes},
                                      {"root_hash", summary.root_hash},
                                      {"seconds", summary.seconds}}) +
                        "\n");
    return;
  }
  const double ratio = summary.file_bytes == 0 ? 0
                                               : static_cast<double>(summary.content_bytes) /
                                                     static_cast<double>(summary.file_bytes);
  std::string copies;
  if (summary.duplicate_bytes != 0)
    copies += fmt::format(", {} of copies stored once", human_bytes(summary.duplicate_bytes));
  if (summary.parent_bytes != 0)
    copies += fmt::format(", {} found in frames of the parents", human_bytes(summary.parent_bytes));
  const auto rate =
      static_cast<std::uint64_t>(static_cast<double>(summary.data_bytes) / std::max(summary.seconds, 1e-3));
  tell(arguments,
       fmt::format("{}: {} files, {} of content in {} ({:.2f} to 1){}, {:.1f} s, {}/s\n",
                   arguments.dry_run ? "dry run, nothing is written" : printable(arguments.output),
                   summary.files, human_bytes(summary.content_bytes), human_bytes(summary.file_bytes), ratio,
                   copies, summary.seconds, human_bytes(rate)));
}

// Layer files, or one of what open_source() knows.
ResultOrFailure<std::unique_ptr<image::TreeSource>> open_sources(const Arguments& arguments,
                                                                 const image::ParentFiles* parents,
                                                                 image::Monitor& monitor) {
  const std::vector<std::string>& sources = arguments.sources;
  const auto other = std::find_if(sources.begin(), sources.end(), [](const std::string& source) {
    return source == "-" || !image::is_layer_file(source);
  });
  if (other == sources.end()) {
    VARVE_ASSIGN(std::unique_ptr<image::TreeSource> opened,
                 image::LayerSource::open({.layers = sources,
                                           .bases = arguments.bases,
                                           .parents = parents,
                                           .keep_deltas = !arguments.difference,
                                           .flatten = arguments.flatten || arguments.difference,
                                           .filter = image::PathFilter(arguments.build.excludes)},
                                          monitor));
    return opened;
  }
  if (sources.size() > 1) {
    return Failure{EINVAL, printable(*other) + ": not a layer file (of several SRC each must be one)"};
  }
  if (arguments.flatten || !arguments.bases.empty()) {
    return Failure{EINVAL, printable(*other) + ": not a layer file (--flatten and --base are for those)"};
  }
  return open_source(*other, arguments.build, spool_directory(arguments), monitor);
}

// The average size that "cdc" or "cdc:AVERAGE" asks for; empty for anything else.
std::optional<std::uint32_t> chunk_bytes_of(const std::string& dedup) {
  if (dedup == "cdc") return image::ChunkCutter::kDefaultAverageBytes;
  if (!dedup.starts_with("cdc:")) return std::nullopt;
  std::string size = dedup.substr(4);
  try {
    if (!CLI::AsSizeValue(false)(size).empty()) return std::nullopt;
  } catch (const CLI::ValidationError&) {  // an unknown unit
    return std::nullopt;
  }
  const std::uint64_t bytes = std::strtoull(size.c_str(), nullptr, 10);
  const bool fits = std::has_single_bit(bytes) && bytes >= image::ChunkCutter::kLeastAverageBytes &&
                    bytes <= image::ChunkCutter::kMostAverageBytes;
  return fits ? std::optional(static_cast<std::uint32_t>(bytes)) : std::nullopt;
}

std::string check_dedup(const std::string& dedup) {
  return chunk_bytes_of(dedup) ? "" : "write cdc or cdc:AVERAGE, a power of two from 4K to 256K";
}

StatusOrFailure build(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::BuildOptions options, build_options(arguments.build, arguments.output));
  std::unique_ptr<image::ParentFiles> parents;
  if (!arguments.parents.empty()) {
    VARVE_ASSIGN(auto stack, layer::open_stack(arguments.parents, {}));
    VARVE_ASSIGN(parents, image::ParentFiles::make(std::move(stack), {}));
    options.parents = parents.get();
    options.difference = arguments.difference;
  }
  if (!arguments.dedup.empty()) options.chunk_bytes = chunk_bytes_of(arguments.dedup);
  options.writer.dry_run = arguments.dry_run;
  if (goes_to_standard_output(arguments) && ::isatty(STDOUT_FILENO) == 1)
    return Failure{EINVAL, "standard output is a terminal (send it to a file or a pipe)"};
  VARVE_ASSIGN(const std::unique_ptr<image::TreeSource> source,
               open_sources(arguments, parents.get(), *monitor));
  VARVE_ASSIGN(const image::LayerWriter::Summary summary, image::build_layer(*source, options, *monitor));
  report(arguments, summary);
  return {};
}

}  // namespace

void add_layer_build(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      layer.add_subcommand("build", "Make a layer file of a directory, a tar archive or other layers");
  command
      ->add_option(
          "SRC", arguments->sources,
          "Directory, tar archive (plain or compressed), or - for standard input; or layer files, the "
          "topmost first, that become one")
      ->required();
  command->add_option("-o,--output", arguments->output, "Layer file to write, or - for standard output")
      ->type_name("FILE");
  command->add_flag("--dry-run", arguments->dry_run,
                    "Read and compress, tell what would come of it, write nothing");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_parent_option(*command, arguments->parents);
  CLI::Option* parent = command->get_option("--parent");
  command
      ->add_flag(
          "--diff", arguments->difference,
          "SRC is all that is to be seen above the --parent layers: store only what differs from them, "
          "and delete what SRC has not. What is excluded, or left out by --one-file-system, counts as not "
          "there")
      ->needs(parent);
  command
      ->add_option(
          "--base", arguments->bases,
          "A layer that SRC was built on and the new layer will not lie on: what SRC inherits is taken "
          "from it; may be repeated, the nearest first")
      ->type_name("LAYER")
      ->allow_extra_args(false);
  command
      ->add_flag("--flatten", arguments->flatten,
                 "Nothing lies below the new layer: leave out deletions and other marks for layers below")
      ->excludes(parent);
  command
      ->add_option(
          "--dedup", arguments->dedup,
          "cdc: look for content that moved, in chunks of 16K on average (cdc:AVERAGE: 4K to 256K), "
          "in all files of the parents, which are read for it. Its table takes up to 64M (96M while it "
          "grows)")
      ->type_name("cdc[:AVERAGE]")
      ->check(check_dedup)
      ->needs(parent);
  add_build_flags(*command, arguments->build);
  command->footer(
      "Example:\n  imagetool layer build rootfs/ -o base.layer --exclude 'var/cache/*'\n"
      "  tar c rootfs | imagetool layer build - -o base.layer --level 9\n"
      "  imagetool layer build rootfs/ -o - | ssh host 'cat > base.layer'\n"
      "  imagetool layer build changed/ -o top.layer --parent base.layer    # stores only what base.layer "
      "has not\n"
      "  imagetool layer build changed/ -o top.layer --parent base.layer --dedup=cdc    # wherever it lies "
      "there\n"
      "A rebuilt tree as a layer over the old one:\n"
      "  imagetool layer build rootfs-new/ -o update.layer --diff --parent base.layer\n"
      "Three layers become one, to lie where they lay, or on nothing:\n"
      "  imagetool layer build c.layer b.layer a.layer -o abc.layer --parent base.layer\n"
      "  imagetool layer build c.layer b.layer a.layer base.layer -o all.layer --flatten\n"
      "A layer is put on another base. What it inherits from the old one is copied, then compared with the "
      "new "
      "one:\n"
      "  imagetool layer build app.layer -o app2.layer --base base-1.layer --parent base-2.layer");
  command->callback([arguments, &context] {
    if (arguments->output.empty() && !arguments->dry_run) throw CLI::RequiredError("--output");
    run_command(context, "building a layer", [&] { return build(*arguments, context); });
  });
}

}  // namespace varve::imagetool
