#include "launcher/image_root.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "imagetool/image/store/store.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

// The absolute path of something that exists, without symbolic links, so that it names the same thing to the daemon.
ResultOrFailure<std::string> absolute_path(const std::string& path, const char* doing) {
  const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr), &std::free);
  if (found == nullptr) return explain(Errno::last(), doing, path);
  return std::string(found.get());
}

ResultOrFailure<ImageRoot> root_of_layers(const RunOptions& options) {
  ImageRoot found;
  found.root.kind = RootPlan::Kind::kStack;
  for (const std::string& layer : options.layers) {
    VARVE_ASSIGN(std::string path, absolute_path(layer, "finding a layer"));
    found.root.lowers.push_back(std::move(path));
  }
  return found;
}

ResultOrFailure<ImageRoot> root_of_directory(const std::string& path) {
  ImageRoot found;
  VARVE_ASSIGN(found.root.directory, absolute_path(path, "finding the root directory"));
  struct stat about = {};
  if (::stat(found.root.directory.c_str(), &about) != 0) {
    return explain(Errno::last(), "finding the root directory", path);
  }
  if (!S_ISDIR(about.st_mode)) {
    return explain(Errno{ENOTDIR}, "finding the root directory", path,
                   "a layer file is run with --layers FILE COMMAND");
  }
  return found;
}

ResultOrFailure<ImageRoot> root_of_image(const std::string& reference, const std::string& store_directory) {
  VARVE_ASSIGN(const image::Store store, image::Store::open(store_directory));
  VARVE_ASSIGN(image::Image image, store.resolve(reference));
  ImageRoot found;
  found.root.kind = RootPlan::Kind::kStack;
  found.root.lowers.assign(image.layer_paths.rbegin(), image.layer_paths.rend());
  found.config = std::move(image.config);
  found.image_name = std::move(image.name);
  found.image_digest = image.digest.text();
  if (found.root.lowers.empty()) return refuse("running an image", reference, "it has no layers");
  return found;
}

ResultOrFailure<ImageRoot> find_by_word(const std::string& word, const std::string& store_directory) {
  if (word[0] == '/' || word[0] == '.') return root_of_directory(word);
  ResultOrFailure<ImageRoot> image = root_of_image(word, store_directory);
  // EINVAL: "rootfs/" is no name of an image.
  const bool is_no_image =
      !image.ok() && (image.error().error_number == ENOENT || image.error().error_number == EINVAL);
  struct stat about = {};
  if (!is_no_image || ::stat(word.c_str(), &about) != 0) return image;
  return root_of_directory(word);
}

}  // namespace

ResultOrFailure<ImageRoot> find_image_root(const RunOptions& options, const std::string& store_directory) {
  if (options.layers.empty() && options.image.empty()) {
    return refuse("starting a container", "", "no IMAGE or ROOTFS-DIR is given", "see varve run --help");
  }
  VARVE_ASSIGN(ImageRoot found, options.layers.empty() ? find_by_word(options.image, store_directory)
                                                       : root_of_layers(options));
  RootPlan& root = found.root;
  root.read_only = options.read_only;
  if (options.upper.empty() != options.work.empty()) {
    return refuse("choosing the writable side", options.upper + options.work,
                  "--upper and --work go together");
  }
  if (!options.upper.empty()) {
    if (root.kind == RootPlan::Kind::kDirectory || options.read_only) {
      return refuse("choosing the writable side", options.upper, "--upper needs layers and no --read-only",
                    "a ROOTFS-DIR is written in place");
    }
    VARVE_ASSIGN(root.upper, absolute_path(options.upper, "finding the upper directory"));
    VARVE_ASSIGN(root.work, absolute_path(options.work, "finding the work directory"));
  }
  root.own_upper = root.kind == RootPlan::Kind::kStack && root.upper.empty() && !root.read_only;
  return found;
}

}  // namespace varve::launcher
