#pragma once

// What the micro benchmarks work on: layers of made-up trees, in a directory that goes with the process.
// Thread rule: made by the first who asks, before any measuring.

#include <memory>
#include <string>
#include <vector>

#include "fs/layer/layer_file.h"
#include "fs/view/lower_stack.h"

namespace varve::bench {

// 100 directories of 100 files, of some kilobytes each that compress to about a third.
constexpr unsigned kDirectories = 100;
constexpr unsigned kFilesEach = 100;

// "/d7/f42" for 742.
std::string directory_name(unsigned number);
std::string file_name(unsigned number);

class Scene {
 public:
  static const Scene& get();

  // The tree itself, for those who build layers of it.
  const std::string& tree() const { return tree_; }
  const std::string& scratch() const { return scratch_; }
  // Its layer, opened anew with a cache of its own.
  std::shared_ptr<layer::LayerFile> layer() const;
  // So many layers over each other: the whole tree at the bottom, above it ones that change a few files each.
  std::unique_ptr<view::LowerStack> stack(unsigned layers) const;

 private:
  Scene();
  std::string scratch_;
  std::string tree_;
  std::string layer_;
  std::string change_;  // a layer of ten files in two of the directories
};

// Makes a layer file of a directory. Ends the program when it cannot.
void build(const std::string& tree, const std::string& layer);

}  // namespace varve::bench
