#include "bench/micro/scene.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/source/directory_source.h"

namespace varve::bench {
namespace {

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "micro: %s\n", why.c_str());
  std::exit(1);
}

std::string content(std::mt19937& random) {
  std::string text;
  const std::size_t size = 500 + random() % 8000;
  while (text.size() < size) text += fmt::format("line {:x} of a file\n", random());
  return text;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) give_up(path + ": cannot be written");
}

std::string scratch_directory() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr ? base : "/tmp") + "/varve-micro.XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) give_up(path + ": no directory for it");
  return path;
}

}  // namespace

std::string directory_name(unsigned number) {
  return fmt::format("d{}", number);
}

std::string file_name(unsigned number) {
  return fmt::format("f{}", number);
}

void build(const std::string& tree, const std::string& layer) {
  image::Monitor monitor;
  auto source = image::DirectorySource::open(tree, {}, monitor);
  if (!source.ok()) give_up(source.error().message);
  image::BuildOptions options;
  options.writer.output_path = layer;
  const auto built = image::build_layer(**source, options, monitor);
  if (!built.ok()) give_up(built.error().message);
}

const Scene& Scene::get() {
  // Not destroyed: its directory is removed when the program ends.
  static const Scene* const scene = [] {
    static const std::string scratch = scratch_directory();
    std::atexit([] { std::filesystem::remove_all(scratch); });
    auto* made = new Scene();
    made->scratch_ = scratch;
    made->tree_ = scratch + "/tree";
    made->layer_ = scratch + "/tree.vrv";
    made->change_ = scratch + "/change.vrv";
    std::mt19937 random(1);
    for (unsigned directory = 0; directory < kDirectories; ++directory) {
      const std::string path = made->tree_ + "/" + directory_name(directory);
      std::filesystem::create_directories(path);
      for (unsigned file = 0; file < kFilesEach; ++file) {
        write_file(path + "/" + file_name(file), content(random));
      }
    }
    build(made->tree_, made->layer_);
    for (unsigned file = 0; file < 10; ++file) {
      const std::string path = scratch + "/change/" + directory_name(file % 2);
      std::filesystem::create_directories(path);
      write_file(path + "/" + file_name(file), content(random));
    }
    build(scratch + "/change", made->change_);
    return made;
  }();
  return *scene;
}

Scene::Scene() = default;

std::shared_ptr<layer::LayerFile> Scene::layer() const {
  auto opened = layer::LayerFile::open(layer_, layer::LayerContext{});
  if (!opened.ok()) give_up(opened.error().message);
  return std::move(opened).value();
}

std::unique_ptr<view::LowerStack> Scene::stack(unsigned layers) const {
  std::vector<std::string> paths(layers - 1, change_);
  paths.push_back(layer_);
  auto opened = layer::open_stack(paths, layer::LayerContext{});
  if (!opened.ok()) give_up(opened.error().message);
  return std::make_unique<view::LowerStack>(std::move(opened).value());
}

}  // namespace varve::bench
