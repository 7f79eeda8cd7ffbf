#pragma once

// FileTree: what COPY and ADD copy from and to: the build's context or the stack of layers of a stage. Paths are canonical: without a
// leading '/', "", ".", ".." or symbolic links in front of the last component; "" is the root. Thread rule: one thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/layer_union.h"
#include "imagetool/image/source/tree_source.h"
#include "imagetool/recipe/ignore_patterns.h"

namespace varve::recipe {

struct TreeObject {
  std::uint32_t mode = 0;
  std::string link_target;  // of a symbolic link

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_symlink() const { return S_ISLNK(mode); }
};

class FileTree {
 public:
  virtual ~FileTree() = default;
  // Empty when there is none.
  virtual ResultOrFailure<std::optional<TreeObject>> look_up(const std::string& path) = 0;
  // Of a directory, sorted.
  virtual ResultOrFailure<std::vector<std::string>> names(const std::string& path) = 0;
  // All that `filter` does not exclude.
  virtual ResultOrFailure<std::unique_ptr<image::TreeSource>> open(image::PathFilter filter,
                                                                   image::Monitor& monitor) = 0;
  // What messages call it.
  virtual std::string shown(const std::string& path) const = 0;

  // The canonical form of any path: symbolic links are followed, none leads out of the tree; what does not exist stays as it is.
  // Returns: ELOOP after 40 links.
  ResultOrFailure<std::string> resolve(std::string_view path);
  // The canonical paths that a pattern stands for, component by component ('*', '?', [a-z], '\\'), sorted, before links of the last
  // component are followed. One without wildcards is given back when it exists.
  ResultOrFailure<std::vector<std::string>> expand(const std::string& pattern);
};

// A directory of the host, less what is ignored.
class ContextTree : public FileTree {
 public:
  ContextTree(std::string directory, IgnorePatterns ignored)
      : directory_(std::move(directory)), ignored_(std::move(ignored)) {}
  ResultOrFailure<std::optional<TreeObject>> look_up(const std::string& path) override;
  ResultOrFailure<std::vector<std::string>> names(const std::string& path) override;
  ResultOrFailure<std::unique_ptr<image::TreeSource>> open(image::PathFilter filter,
                                                           image::Monitor& monitor) override;
  std::string shown(const std::string& path) const override;
  const IgnorePatterns& ignored() const { return ignored_; }

 private:
  std::string directory_;
  IgnorePatterns ignored_;
};

// A stack of layer files, none at all for "scratch".
class LayeredTree : public FileTree {
 public:
  // `layer_paths`: bottom first. `name`: what messages call it.
  static ResultOrFailure<std::unique_ptr<LayeredTree>> open_stack(const std::vector<std::string>& layer_paths,
                                                                  std::string name);
  ResultOrFailure<std::optional<TreeObject>> look_up(const std::string& path) override;
  ResultOrFailure<std::vector<std::string>> names(const std::string& path) override;
  ResultOrFailure<std::unique_ptr<image::TreeSource>> open(image::PathFilter filter,
                                                           image::Monitor& monitor) override;
  std::string shown(const std::string& path) const override;

  // All of an object but its content, without what only its own layer says of others. Empty when there is none.
  ResultOrFailure<std::optional<image::InodeSpec>> spec(const std::string& path);
  // The content of a regular file; empty when it is none or longer.
  ResultOrFailure<std::string> read_file(const std::string& path, std::uint64_t limit_bytes);

 private:
  LayeredTree(image::LayerUnion layers, std::vector<std::string> layer_paths, std::string name)
      : layers_(std::move(layers)), layer_paths_(std::move(layer_paths)), name_(std::move(name)) {}
  ResultOrFailure<image::UnionDirectory> enter(const std::string& path);
  ResultOrFailure<image::UnionEntry> entry(const std::string& path);

  image::LayerUnion layers_;
  std::vector<std::string> layer_paths_;  // bottom first
  std::string name_;
  std::unordered_map<std::string, image::UnionDirectory> directories_;  // by path, those that were entered
};

}  // namespace varve::recipe
