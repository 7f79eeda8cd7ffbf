// imagetool verify [NAME...]

#include <fmt/format.h>

#include "imagetool/commands.h"
#include "imagetool/image/image_audit.h"
#include "imagetool/verify_repair.h"
#include "imagetool/verify_report.h"

namespace varve::imagetool {
namespace {

using image::Json;

struct Arguments {
  std::vector<std::string> names;
  bool json = false;
  bool set_aside = false;
};

// "/srv/store/blobs/sha256/0123..." -> "0123456789ab": layers below are known by the paths of their blobs.
std::string short_layer(const std::string& path) {
  return path.substr(path.rfind('/') + 1).substr(0, 12);
}

// By two more columns.
std::string indented(const std::string& lines) {
  std::string text;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i == 0 || lines[i - 1] == '\n') text += "  ";
    text += lines[i];
  }
  return text;
}

Json repairs_json(const std::vector<Repair>& repairs) {
  Json all = Json::array();
  for (const Repair& repair : repairs) all.push_back({{"command", repair.command}, {"note", repair.note}});
  return all;
}

std::string repairs_text(const std::vector<Repair>& repairs, const std::string& indent) {
  std::string text;
  for (const Repair& repair : repairs)
    text += fmt::format("{}{}  ({})\n", indent, printable(repair.command), repair.note);
  return text;
}

class Report {
 public:
  Report(const image::Audit& audit, const Repairs& repairs) : audit_(audit), repairs_(repairs) {}

  std::string text() const {
    std::string text;
    for (const image::ImageHealth& image : audit_.images) text += image_text(image);
    std::size_t bad = 0;
    for (const image::BlobHealth& blob : audit_.others) {
      if (blob.good()) continue;
      ++bad;
      text += fmt::format("blob {}, of none of these images: DAMAGED: {}\n  what to do:\n",
                          blob.digest.short_hex(), blob.problem);
      text += repairs_text(repairs_.of_other_blob(blob), "    ");
    }
    if (!audit_.others.empty())
      text += fmt::format("{} other blobs: {} good, {} damaged\n", audit_.others.size(),
                          audit_.others.size() - bad, bad);
    return text;
  }

  Json json() const {
    Json images = Json::array();
    for (const image::ImageHealth& image : audit_.images) images.push_back(image_json(image));
    Json others = Json::array();
    for (const image::BlobHealth& blob : audit_.others) {
      others.push_back({{"digest", blob.digest.text()},
                        {"bytes", blob.size_bytes},
                        {"good", blob.good()},
                        {"problem", blob.problem},
                        {"repair", repairs_json(repairs_.of_other_blob(blob))}});
    }
    return {{"good", audit_.good()}, {"images", images}, {"other_blobs", others}};
  }

 private:
  std::string layer_text(const image::ImageHealth& image, std::size_t index) const {
    const image::LayerHealth& layer = *image.layers[index];
    const std::string name = "layer " + layer.blob.digest.short_hex();
    std::string text;
    if (layer.blob.missing) {
      text = name + ": MISSING: there is no such blob\n";
    } else if (layer.report.good() && layer.blob.good()) {
      text = report_text(name, layer.report);
    } else {
      text = name + ": DAMAGED\n";
      if (!layer.blob.good()) text += fmt::format("  {}\n", layer.blob.problem);
      text += damage_text(layer.report);
      if (layer.report.good() && layer.report.unchecked.empty())
        text += "  all of its files can still be read\n";
    }
    for (const auto& file : layer.report.unchecked)
      text += fmt::format("  damaged file {}: {}\n", printable(file.path), file.reason);
    if (layer.is_cause()) text += origin_text(image, index);
    return indented(text);
  }

  std::string origin_text(const image::ImageHealth& image, std::size_t index) const {
    std::string text;
    const std::string step = made_by(*image.image, index);
    if (!step.empty()) text += fmt::format("  made by: {}\n", printable(step));
    std::string names;
    for (const std::string& name : repairs_.images_with(image.layers[index]->blob.digest))
      names += (names.empty() ? "" : ", ") + printable(name);
    return text + fmt::format("  images that have it: {}\n", names);
  }

  std::string lost_text(const image::ImageHealth& image) const {
    if (image.cannot_be_mounted) return "  the image cannot be mounted\n";
    if (image.good()) return {};
    std::string text = fmt::format("  files of the image that cannot be read: {}\n", image.lost.size());
    for (const auto& file : image.lost) {
      text += fmt::format("    {}: {}", printable(file.path), file.damage->reason);
      std::string sources;
      for (const std::string& source : file.damage->sources)
        sources += (sources.empty() ? "" : ", ") + short_layer(source);
      if (!sources.empty()) text += fmt::format(" (inherits from layer {})", sources);
      if (const auto* copy = audit_.copy_of(*file.damage)) {
        text += fmt::format("; the same content is good as {} of layer {}", printable(copy->path),
                            copy->layer.short_hex());
      }
      text += "\n";
    }
    return text;
  }

  std::string image_text(const image::ImageHealth& image) const {
    const std::string name = printable(name_of(image));
    std::string text;
    if (!image.problem.empty()) {
      text = fmt::format("{}: DAMAGED: {}\n", name, printable(image.problem));
    } else {
      text = fmt::format("{} {}: manifest and configuration good, {} layers\n", name,
                         image.image->digest.short_hex(), image.layers.size());
      for (std::size_t i = 0; i < image.layers.size(); ++i) text += layer_text(image, i);
      text += lost_text(image);
    }
    if (image.good()) return text;
    std::string containers;
    for (const std::string& container : repairs_.containers_over(image)) containers += " " + container;
    if (!containers.empty()) text += fmt::format("  containers over it:{}\n", containers);
    return text + "  what to do, one of:\n" + repairs_text(repairs_.of_image(image), "    ");
  }

  Json image_json(const image::ImageHealth& image) const {
    Json layers = Json::array();
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      const image::LayerHealth& layer = *image.layers[i];
      Json one = report_json(image.image->layer_paths[i], layer.report);
      one["digest"] = layer.blob.digest.text();
      one["good"] = layer.good();
      one["missing"] = layer.blob.missing;
      one["problem"] = layer.blob.problem;
      one["made_by"] = made_by(*image.image, i);
      one["images"] = repairs_.images_with(layer.blob.digest);
      layers.push_back(std::move(one));
    }
    Json lost = Json::array();
    for (const auto& file : image.lost) {
      const auto* copy = audit_.copy_of(*file.damage);
      lost.push_back(
          {{"path", file.path},
           {"layer", image.layers[file.layer]->blob.digest.text()},
           {"reason", file.damage->reason},
           {"sources", file.damage->sources},
           {"copy", copy == nullptr ? Json() : Json{{"layer", copy->layer.text()}, {"path", copy->path}}}});
    }
    return {{"name", image.name},
            {"digest", image.digest},
            {"good", image.good()},
            {"problem", image.problem},
            {"source", image.source},
            {"can_be_mounted", image.problem.empty() && !image.cannot_be_mounted},
            {"layers", layers},
            {"lost_files", lost},
            {"containers", image.good() ? std::vector<std::string>() : repairs_.containers_over(image)},
            {"repair", repairs_json(repairs_.of_image(image))}};
  }

  const image::Audit& audit_;
  const Repairs& repairs_;
};

// Returns: the digests of the blobs that were moved.
ResultOrFailure<std::vector<std::string>> set_aside(image::Store& store, const image::Audit& audit) {
  std::set<image::Digest> bad;
  for (const image::ImageHealth& image : audit.images) {
    for (const auto& layer : image.layers) {
      if (!layer->blob.good() && !layer->blob.missing) bad.insert(layer->blob.digest);
    }
    const Result<image::Digest> manifest = image::Digest::parse(image.digest);
    if (!image.problem.empty() && manifest.ok()) bad.insert(*manifest);
  }
  for (const image::BlobHealth& blob : audit.others) {
    if (!blob.good()) bad.insert(blob.digest);
  }
  std::vector<std::string> moved;
  for (const image::Digest& digest : bad) {
    VARVE_ASSIGN(const bool was_moved, store.set_aside(digest));
    if (was_moved) moved.push_back(digest.text());
  }
  return moved;
}

StatusOrFailure verify(const Arguments& arguments, const Context& context) {
  const auto monitor = context.monitor();
  quiet_damage_log();
  VARVE_ASSIGN(image::Store store, context.open_store());
  VARVE_ASSIGN(const image::Audit audit, image::audit(store, arguments.names, *monitor));
  VARVE_ASSIGN(const Repairs repairs, Repairs::prepare(store, audit));
  std::vector<std::string> moved;
  if (arguments.set_aside) {
    VARVE_ASSIGN(moved, set_aside(store, audit));
  }
  const Report report(audit, repairs);
  if (arguments.json) {
    Json json = report.json();
    json["set_aside"] = moved;
    print(image::json_text(json, 2) + "\n");
  } else {
    print(report.text());
    for (const std::string& digest : moved)
      print(fmt::format("set aside: {}/damaged/{}\n", store.directory(), digest.substr(7)));
  }
  if (audit.good()) return {};
  std::size_t bad = 0;
  for (const image::ImageHealth& image : audit.images) bad += image.good() ? 0 : 1;
  if (bad == 0) return Failure{EUCLEAN, "blobs that no image has are damaged"};
  return Failure{EUCLEAN, fmt::format("{} of {} images are damaged", bad, audit.images.size())};
}

}  // namespace

void add_verify(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("verify", "Check images: every blob against its digest, every layer whole");
  command->add_option("NAME", arguments->names,
                      "NAME[:TAG] or digest (default: all images, and blobs that belong to none)");
  command->add_flag("--json", arguments->json, "As JSON");
  command->add_flag("--set-aside", arguments->set_aside,
                    "Move damaged blobs to STORE/damaged, so that they are made or fetched again");
  command->footer(
      "Of what is damaged it says which images and which of their files are affected, where the same content "
      "is good, and what to\n"
      "do. `pull`, `import` and `commit` replace a damaged blob by a good one of the same digest without "
      "more "
      "ado; `build` takes\n"
      "layers from its cache, so there the damaged one must be set aside first.\n"
      "Example:\n  imagetool verify\n  imagetool verify debian:12");
  command->callback([arguments, &context] {
    run_command(context, "verifying images", [&] { return verify(*arguments, context); });
  });
}

}  // namespace varve::imagetool
