#pragma once

// RandomTree: trees in memory with few names, so that two of them have much in common, as sources of layers. What comes of a
// seed is always the same. One thread.

#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/image/source/tree_source.h"

namespace varve::image {

class RandomTree : public TreeSource {
 public:
  // `marks`: whiteouts, opaque and redirected directories too, as in a layer.
  RandomTree(std::mt19937& random, bool marks);

  // A few changes of every kind: names come, go and are linked, contents and attributes change.
  void change(std::mt19937& random);

  ResultOrFailure<Tree> scan() override;
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override;

 private:
  struct Object {
    InodeSpec spec;
    std::string content;
  };
  static constexpr std::size_t kWhiteout = ~std::size_t{0};

  void fill(std::mt19937& random, const std::string& directory, unsigned depth, bool marks);
  void put(std::mt19937& random, const std::string& path, unsigned depth, bool marks);
  void change_object(std::mt19937& random, Object& object);
  void erase(const std::string& path);
  std::size_t random_file(std::mt19937& random);

  std::vector<Object> objects_;
  std::map<std::string, std::size_t> names_;  // path without a leading '/' -> object; "" is the root
};

}  // namespace varve::image
