// imagetool stats [IMAGE...]

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fs/format/layer_decode.h"
#include "fs/layer/layer_file.h"
#include "imagetool/commands.h"
#include "imagetool/image/store/json_text.h"

namespace varve::imagetool {
namespace {

struct Arguments {
  std::vector<std::string> images;
  bool json = false;
};

// Of one layer, or of several added up.
struct Sizes {
  std::uint64_t named_bytes = 0;  // sizes of all files, one with several names once
  std::uint64_t content_bytes =
      0;  // what of it is stored here: without holes, duplicates and what parents hold
  std::uint64_t stored_bytes = 0;  // the layer file, compressed

  void add(const Sizes& other) {
    named_bytes += other.named_bytes;
    content_bytes += other.content_bytes;
    stored_bytes += other.stored_bytes;
  }
};

ResultOrFailure<Sizes> sizes_of(const std::string& path) {
  VARVE_ASSIGN(const std::unique_ptr<layer::LayerFile> layer,
               layer::LayerFile::open(path, {.lazy_from_bytes = UINT64_MAX}));
  Sizes sizes{.stored_bytes = layer->footer().file_size.get()};
  const format::LayerTables& tables = layer->tables();
  for (const format::Frame& frame : tables.frames) sizes.content_bytes += frame.content_size;
  for (std::size_t i = format::kRootInode; i < tables.inodes.size(); ++i) {
    if (S_ISREG(tables.inodes[i].mode)) sizes.named_bytes += tables.inodes[i].size;
  }
  return sizes;
}

double ratio(std::uint64_t of, std::uint64_t to) {
  return to == 0 ? 1.0 : static_cast<double>(of) / static_cast<double>(to);
}

image::Json to_json(const Sizes& sizes) {
  return {{"named_bytes", sizes.named_bytes},
          {"content_bytes", sizes.content_bytes},
          {"stored_bytes", sizes.stored_bytes}};
}

class Statistics {
 public:
  // An image of the store.
  StatusOrFailure add(const image::Image& image) {
    Sizes sum;
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      const std::string& digest = image.layers[i].digest.text();
      auto known = layers_.find(digest);
      if (known == layers_.end()) {
        VARVE_ASSIGN(const Sizes sizes, sizes_of(image.layer_paths[i]));
        known = layers_.emplace(digest, sizes).first;
      }
      sum.add(known->second);
    }
    images_.push_back({image.name.empty() ? image.digest.text() : image.name, image.layers.size(), sum});
    return {};
  }

  image::Json json() const {
    image::Json images = image::Json::array();
    for (const One& one : images_) {
      image::Json object = to_json(one.sizes);
      object["name"] = one.name;
      object["layers"] = one.layers;
      images.push_back(std::move(object));
    }
    return {{"images", images},
            {"of_images", to_json(of_images())},
            {"of_layers", to_json(of_layers())},
            {"layers", layers_.size()}};
  }

  std::string text() const {
    std::size_t widest = 12;
    for (const One& one : images_) widest = std::max(widest, one.name.size());
    std::string text = fmt::format("{:<{}}  {:>6}  {:>8}  {:>8}  {:>8}\n", "IMAGE", widest, "LAYERS", "FILES",
                                   "CONTENT", "STORED");
    const auto line = [&](std::string_view name, std::size_t layers, const Sizes& sizes) {
      text += fmt::format("{:<{}}  {:>6}  {:>8}  {:>8}  {:>8}\n", printable(name), widest, layers,
                          human_bytes(sizes.named_bytes), human_bytes(sizes.content_bytes),
                          human_bytes(sizes.stored_bytes));
    };
    for (const One& one : images_) line(one.name, one.layers, one.sizes);
    const Sizes images = of_images();
    const Sizes layers = of_layers();
    line("all, shared", layers_.size(), layers);
    text += fmt::format(
        "\nsharing of layers {:.2f}, equal content {:.2f}, compression {:.2f}; together {:.2f}\n",
        ratio(images.stored_bytes, layers.stored_bytes), ratio(layers.named_bytes, layers.content_bytes),
        ratio(layers.content_bytes, layers.stored_bytes), ratio(images.named_bytes, layers.stored_bytes));
    return text;
  }

 private:
  struct One {
    std::string name;
    std::size_t layers = 0;
    Sizes sizes;
  };
  // Each layer as often as images have it.
  Sizes of_images() const {
    Sizes sum;
    for (const One& one : images_) sum.add(one.sizes);
    return sum;
  }
  // Each layer once, as the store has it.
  Sizes of_layers() const {
    Sizes sum;
    for (const auto& [digest, sizes] : layers_) sum.add(sizes);
    return sum;
  }

  std::vector<One> images_;
  std::map<std::string, Sizes> layers_;
};

StatusOrFailure tell(const Arguments& arguments, const Context& context) {
  VARVE_ASSIGN(const image::Store store, context.open_store());
  std::vector<std::string> references = arguments.images;
  if (references.empty()) {
    VARVE_ASSIGN(const std::vector<image::ListedImage> listed, store.list());
    for (const image::ListedImage& one : listed) {
      references.push_back(one.name.empty() ? one.digest.text() : one.name);
    }
  }
  Statistics statistics;
  for (const std::string& reference : references) {
    VARVE_ASSIGN(const image::Image image, store.resolve(reference));
    VARVE_RETURN_IF_ERROR(statistics.add(image));
  }
  print(arguments.json ? image::json_text(statistics.json(), 2) + "\n" : statistics.text());
  return {};
}

}  // namespace

void add_stats(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("stats", "Tell what sharing, deduplication and compression save");
  command->add_option("IMAGE", arguments->images, "NAME[:TAG] or digest (default: all)");
  command->add_flag("--json", arguments->json, "As JSON");
  command->footer(
      "FILES: the sizes of all files; CONTENT: what of that is stored, without holes, equal pieces and what "
      "lower layers hold;\n"
      "STORED: the layer files. The last lines count a layer that several images have once.\n"
      "Example:\n  imagetool stats");
  command->callback(
      [arguments, &context] { run_command(context, "counting", [&] { return tell(*arguments, context); }); });
}

}  // namespace varve::imagetool
