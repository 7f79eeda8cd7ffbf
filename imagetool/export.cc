// imagetool export NAME FORMAT DEST

#include <fmt/format.h>
#include <algorithm>
#include <cstdio>
#include <thread>

#include "fs/layer/open_layer.h"
#include "imagetool/commands.h"
#include "imagetool/image/extract/layer_extract.h"
#include "imagetool/image/layer_walk.h"
#include "imagetool/image/store/json_text.h"
#include "imagetool/image/union_layer.h"
#include "imagetool/tar_form.h"
#include "imagetool/transfer/compressor.h"
#include "imagetool/transfer/give_out.h"
#include "imagetool/transport/archive_destination.h"
#include "imagetool/transport/layout_destination.h"

namespace varve::imagetool {
namespace {

using transfer::LayerForm;

struct Arguments {
  std::string image;
  std::string format;
  std::string destination;
  std::string compress;  // empty: as the format has it
  std::string layers = "tar";
  int level = 0;
  unsigned jobs = 0;
  bool json = false;
};

bool is_archive_of_image(const std::string& format) {
  return format == "oci-archive" || format == "docker-archive";
}

ResultOrFailure<LayerForm> form_of(const Arguments& arguments) {
  if (arguments.layers == "varve") {
    if (arguments.format != "oci" && arguments.format != "oci-archive")
      return Failure{EINVAL, "--layers varve: only oci and oci-archive can hold them"};
    if (!arguments.compress.empty() || arguments.level != 0)
      return Failure{EINVAL, "--layers varve: they stay as they are, --compress and --level are for tars"};
    return LayerForm::kVarve;
  }
  const bool is_oci = arguments.format == "oci" || arguments.format == "oci-archive";
  const std::string compress = !arguments.compress.empty() ? arguments.compress : is_oci ? "gzip" : "none";
  if (compress != "none" && !is_oci && arguments.format != "tar") {
    return Failure{EINVAL, fmt::format("--compress {}: not for {}", compress, arguments.format)};
  }
  return tar_form(compress, arguments.level);
}

// "PATH" or "PATH:NAME", as skopeo splits them: at the first colon.
struct Place {
  std::string path;
  std::string name;
};
Place place_of(const std::string& destination, const std::string& image_name) {
  const std::size_t colon = destination.find(':');
  if (colon == std::string::npos) return {destination, image_name};
  return {destination.substr(0, colon), destination.substr(colon + 1)};
}

ResultOrFailure<std::unique_ptr<transport::ImageDestination>> open_destination(const Arguments& arguments,
                                                                               const Place& place) {
  if (arguments.format == "oci") {
    VARVE_ASSIGN(std::unique_ptr<transport::ImageDestination> layout,
                 transport::LayoutDestination::open(place.path, place.name));
    return layout;
  }
  const auto kind =
      arguments.format == "oci-archive" ? transport::ArchiveKind::kOci : transport::ArchiveKind::kDocker;
  VARVE_ASSIGN(auto output, open_output(place.path));
  VARVE_ASSIGN(std::unique_ptr<transport::ImageDestination> archive,
               transport::ArchiveDestination::open(std::move(output), kind, place.name));
  return archive;
}

// On standard error when standard output holds the archive.
void tell(const Arguments& arguments, const Place& place, const image::Json& json, const std::string& text) {
  const std::string line = (arguments.json ? image::json_text(json) : text) + "\n";
  if (place.path == "-") {
    std::fputs(line.c_str(), stderr);
  } else {
    print(line);
  }
}

StatusOrFailure export_image(const Arguments& arguments, LayerForm form, const Context& context) {
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image image, store.resolve(arguments.image));
  const auto monitor = context.monitor();
  const Place place = place_of(arguments.destination, image.name);
  VARVE_ASSIGN(const auto destination, open_destination(arguments, place));
  const transfer::GiveOutOptions options{.form = form, .level = arguments.level, .jobs = arguments.jobs};
  VARVE_ASSIGN(const transfer::GivenOut done,
               transfer::give_out(store, image, *destination, options, *monitor));
  tell(arguments, place,
       {{"destination", destination->name()},
        {"name", place.name},
        {"digest", done.manifest_digest.text()},
        {"image_id", done.config_digest.text()},
        {"layers", image.layers.size()},
        {"layers_written", done.layers_written},
        {"bytes_written", done.bytes_written},
        {"losses", done.losses}},
       fmt::format("{} {} ({} of {} layers written, {})", destination->name(), done.manifest_digest.text(),
                   done.layers_written, image.layers.size(), human_bytes(done.bytes_written)));
  return {};
}

// What goes to it is compressed on its way to another output.
class CompressedOutput : public image::LayerOutput {
 public:
  static ResultOrFailure<std::unique_ptr<image::LayerOutput>> make(std::unique_ptr<image::LayerOutput> to,
                                                                   LayerForm form,
                                                                   const Arguments& arguments) {
    std::unique_ptr<CompressedOutput> output(new CompressedOutput(std::move(to)));
    const transfer::ByteSink sink = [self = output.get()](std::span<const std::byte> bytes) {
      const StatusOrFailure written = self->to_->write_at(self->written_bytes_, bytes);
      self->written_bytes_ += bytes.size();
      return written;
    };
    const unsigned threads =
        arguments.jobs > 0 ? arguments.jobs : std::max(std::thread::hardware_concurrency(), 1U);
    const transfer::CompressorOptions options{.level = arguments.level, .threads = threads};
    VARVE_ASSIGN(output->compressor_, form == LayerForm::kTarGzip ? transfer::make_gzip(options, sink)
                                                                  : transfer::make_zstd(options, sink));
    return std::unique_ptr<image::LayerOutput>(std::move(output));
  }
  const std::string& name() const override { return to_->name(); }
  StatusOrFailure write_at(std::uint64_t, std::span<const std::byte> bytes) override {
    return compressor_->put(bytes);
  }
  int readable_fd() const override { return -1; }
  StatusOrFailure publish() override {
    VARVE_RETURN_IF_ERROR(compressor_->finish());
    return to_->publish();
  }

 private:
  explicit CompressedOutput(std::unique_ptr<image::LayerOutput> to) : to_(std::move(to)) {}
  const std::unique_ptr<image::LayerOutput> to_;
  std::uint64_t written_bytes_ = 0;
  std::unique_ptr<transfer::Compressor> compressor_;
};

ResultOrFailure<image::ExtractSummary> write_tar(const Arguments& arguments, LayerForm form,
                                                 const layer::Layer& all, image::Monitor& monitor) {
  VARVE_ASSIGN(auto output, open_output(arguments.destination));
  if (form != LayerForm::kTar) {
    VARVE_ASSIGN(output, CompressedOutput::make(std::move(output), form, arguments));
  }
  VARVE_ASSIGN(const image::ExtractSummary summary, image::extract_to_tar(all, *output, monitor));
  VARVE_RETURN_IF_ERROR(output->publish());
  return summary;
}

// All layers as one tree.
StatusOrFailure export_tree(const Arguments& arguments, LayerForm form, const Context& context) {
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Image image, store.resolve(arguments.image));
  if (image.layers.empty()) return Failure{EINVAL, arguments.image + ": has no layers, so there is no tree"};
  const std::vector<std::string> paths(image.layer_paths.rbegin(), image.layer_paths.rend());
  VARVE_ASSIGN(auto stack, layer::open_stack(paths, {}));
  VARVE_ASSIGN(const auto all, image::UnionLayer::make(std::move(stack), image::UnionLayer::Shows::kAll));
  const auto monitor = context.monitor();
  VARVE_ASSIGN(const std::uint64_t total_bytes, image::content_bytes(*all, *monitor));
  monitor->begin("exporting", total_bytes);
  const bool is_directory = arguments.format == "dir";
  VARVE_ASSIGN(const image::ExtractSummary summary,
               is_directory ? image::extract_to_directory(*all, arguments.destination, *monitor)
                            : write_tar(arguments, form, *all, *monitor));
  monitor->end();
  const Place place{is_directory ? "" : arguments.destination, ""};
  tell(arguments, place,
       {{"destination", arguments.destination},
        {"name", image.name},
        {"objects", summary.objects},
        {"content_bytes", summary.content_bytes},
        {"losses", summary.losses}},
       fmt::format("{} ({} objects, {})", arguments.destination, summary.objects,
                   human_bytes(summary.content_bytes)));
  return check_losses(arguments.destination, summary.losses);
}

StatusOrFailure run(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const LayerForm form, form_of(arguments));
  const bool is_image = arguments.format == "oci" || is_archive_of_image(arguments.format);
  return is_image ? export_image(arguments, form, context) : export_tree(arguments, form, context);
}

}  // namespace

void add_export(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("export", "Give an image to other tools");
  command->add_option("NAME", arguments->image, "NAME[:TAG] or digest")->required();
  command
      ->add_option("FORMAT", arguments->format,
                   "oci: an image layout, a directory; oci-archive: a tar of one; docker-archive: as `docker "
                   "save` writes it; tar, dir: the root file system, all layers as one")
      ->required()
      ->check(CLI::IsMember({"oci", "oci-archive", "docker-archive", "tar", "dir"}));
  command
      ->add_option("DEST", arguments->destination,
                   "Where to; images: PATH or PATH:NAME, what the image is called there; archives: - for "
                   "standard output")
      ->required();
  command
      ->add_option("--compress", arguments->compress,
                   "Tar layers, or the tar: gzip (default of oci and oci-archive), zstd, none")
      ->check(CLI::IsMember({"gzip", "zstd", "none"}));
  command->add_option("--level", arguments->level, "gzip: 1 to 9 (default 4); zstd: 1 to 19 (default 3)")
      ->check(CLI::Range(1, 19));
  command->add_option("--layers", arguments->layers, "tar: for all tools; varve: as they are in the store")
      ->check(CLI::IsMember({"tar", "varve"}))
      ->capture_default_str();
  command->add_option("--jobs,-j", arguments->jobs, "Threads (default: one for each processor)")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--json", arguments->json, "Tell the result as JSON");
  command->footer(
      "A layout that exists keeps its other images. Equal images give equal layers and archives.\n"
      "Example:\n  imagetool export web oci layouts/web:1 && skopeo copy oci:layouts/web:1 "
      "docker://host/web:1\n"
      "  imagetool export web docker-archive - | docker load\n"
      "  imagetool export web tar - | tar tv");
  command->callback([arguments, &context] {
    run_command(context, "exporting an image", [&] { return run(*arguments, context); });
  });
}

}  // namespace varve::imagetool
