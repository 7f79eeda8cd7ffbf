// imagetool layer build SRC -o FILE

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::string source;
  std::string output;
  std::vector<std::string> parents;
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

// The average size that "cdc" or "cdc:AVERAGE" asks for.
ResultOrFailure<std::uint32_t> chunk_bytes_of(const std::string& dedup) {
  const std::size_t colon = std::min(dedup.find(':'), dedup.size());
  std::uint64_t bytes = image::ChunkCutter::kDefaultAverageBytes;
  const std::string average = dedup.substr(std::min(colon + 1, dedup.size()));
  bool is_size = true;
  if (colon < dedup.size()) {
    std::string text = average;
    is_size = CLI::AsSizeValue(false)(text).empty();
    bytes = is_size ? std::strtoull(text.c_str(), nullptr, 10) : 0;
  }
  if (dedup.substr(0, colon) != "cdc" || !is_size || !std::has_single_bit(bytes) ||
      bytes < image::ChunkCutter::kLeastAverageBytes || bytes > image::ChunkCutter::kMostAverageBytes) {
    return Failure{EINVAL, "--dedup " + dedup + ": write cdc or cdc:AVERAGE, a power of two from 4K to 256K"};
  }
  return static_cast<std::uint32_t>(bytes);
}

StatusOrFailure build(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  VARVE_ASSIGN(image::BuildOptions options, build_options(arguments.build, arguments.output));
  std::unique_ptr<image::ParentFiles> parents;
  if (!arguments.parents.empty()) {
    VARVE_ASSIGN(auto stack, layer::open_stack(arguments.parents, {}));
    VARVE_ASSIGN(parents, image::ParentFiles::make(std::move(stack), {}));
    options.parents = parents.get();
  }
  if (!arguments.dedup.empty()) {
    VARVE_ASSIGN(options.chunk_bytes, chunk_bytes_of(arguments.dedup));
    if (arguments.parents.empty()) return Failure{EINVAL, "--dedup: there is no --parent to look in"};
  }
  options.writer.dry_run = arguments.dry_run;
  if (goes_to_standard_output(arguments) && ::isatty(STDOUT_FILENO) == 1)
    return Failure{EINVAL, "standard output is a terminal (send it to a file or a pipe)"};
  VARVE_ASSIGN(const std::unique_ptr<image::TreeSource> source,
               open_source(arguments.source, arguments.build, spool_directory(arguments), *monitor));
  VARVE_ASSIGN(const image::LayerWriter::Summary summary, image::build_layer(*source, options, *monitor));
  report(arguments, summary);
  return {};
}

}  // namespace

void add_layer_build(CLI::App& layer, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = layer.add_subcommand("build", "Make a layer file of a directory or a tar archive");
  command
      ->add_option("SRC", arguments->source,
                   "Directory, tar archive (plain or compressed), or - for standard input")
      ->required();
  command->add_option("-o,--output", arguments->output, "Layer file to write, or - for standard output")
      ->type_name("FILE");
  command->add_flag("--dry-run", arguments->dry_run,
                    "Read and compress, tell what would come of it, write nothing");
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  add_parent_option(*command, arguments->parents);
  command
      ->add_option("--dedup", arguments->dedup,
                   "cdc: look for content that moved, in chunks of 16K on average (cdc:AVERAGE: 4K to 256K), "
                   "in all files of the parents, which are read for it. Takes at most 64M of memory")
      ->type_name("cdc[:AVERAGE]");
  add_build_flags(*command, arguments->build);
  command->footer(
      "Example:\n  imagetool layer build rootfs/ -o base.layer --exclude 'var/cache/*'\n"
      "  tar c rootfs | imagetool layer build - -o base.layer --level 9\n"
      "  imagetool layer build rootfs/ -o - | ssh host 'cat > base.layer'\n"
      "  imagetool layer build changed/ -o top.layer --parent base.layer    # stores only what base.layer "
      "has not\n"
      "  imagetool layer build changed/ -o top.layer --parent base.layer --dedup=cdc    # wherever it lies "
      "there");
  command->callback([arguments, &context] {
    if (arguments->output.empty() && !arguments->dry_run) throw CLI::RequiredError("--output");
    run_command(context, "building a layer", [&] { return build(*arguments, context); });
  });
}

}  // namespace varve::imagetool
