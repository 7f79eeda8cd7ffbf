#pragma once

// What a person can do about damage in the store: hints for `imagetool verify`. They follow from where an image came from, so they are
// guesses where nothing is recorded of that, and say so. Thread rule: plain values; reads the store.

#include <set>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/image_audit.h"
#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/store.h"

namespace varve::imagetool {

struct Repair {
  std::string command;
  std::string note;  // what it does, or on what condition
};

class Repairs {
 public:
  // Returns: a Failure when containers or build cache cannot be listed.
  static ResultOrFailure<Repairs> prepare(const image::Store& store, const image::Audit& audit);

  // Requires: `image` and `blob` are of the audit, which outlives this. The best first; none for what is good.
  std::vector<Repair> of_image(const image::ImageHealth& image) const;
  std::vector<Repair> of_other_blob(const image::BlobHealth& blob) const;
  // Containers that lie over this image or one of its layers that are damaged.
  std::vector<std::string> containers_over(const image::ImageHealth& image) const;
  // Images of the audit that have this layer, by name.
  std::vector<std::string> images_with(const image::Digest& layer) const;

 private:
  Repairs(const image::Audit& audit, std::vector<image::ContainerState> containers,
          std::set<image::Digest> cached)
      : audit_(audit), containers_(std::move(containers)), cached_(std::move(cached)) {}
  void add_steps(const image::ImageHealth& image, std::vector<Repair>& repairs) const;

  const image::Audit& audit_;
  std::vector<image::ContainerState> containers_;
  std::set<image::Digest> cached_;  // layers of the build cache
};

// The instruction or command that made layer `index`, as the history tells; empty when it does not.
std::string made_by(const image::Image& image, std::size_t index);
// The image's name, or its digest.
std::string name_of(const image::ImageHealth& image);

}  // namespace varve::imagetool
