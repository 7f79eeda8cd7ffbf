#pragma once

// BuildCache: what steps of `imagetool build` have made before, by the digest of all that a step depends on (imagetool/recipe):
//
//   STORE/build-cache/HEX      {"created":"...","layer":{"digest":"sha256:...","size":N,"annotations":{...}}}; without a layer: a step that
//                              made none
//
// gc() keeps the layers that it names. It may be deleted at any time: what is not found is made again.
// Thread rule: stateless calls; entries appear whole.

#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/store/store.h"

namespace varve::image {

struct CachedStep {
  std::string created;  // RFC 3339
  std::optional<Descriptor> layer;
};

class BuildCache {
 public:
  // `store_directory`: of a Store; `name`: of the directory in it. Nothing is created here.
  explicit BuildCache(const std::string& store_directory, const std::string& name = "build-cache")
      : directory_(store_directory + "/" + name) {}

  // Empty when there is none, when it cannot be read, or when its layer is not in the store any more.
  std::optional<CachedStep> find(const Digest& key, const Store& store) const;
  StatusOrFailure put(const Digest& key, const CachedStep& step) const;
  // Of all entries that can be read.
  ResultOrFailure<std::vector<Digest>> layers() const;
  // Forgets entries whose layer is not in the store any more, and what is no entry.
  StatusOrFailure forget_absent(const Store& store) const;
  // Forgets all.
  StatusOrFailure clear() const;

 private:
  std::optional<CachedStep> read(const std::string& name) const;
  ResultOrFailure<std::vector<std::string>> names() const;

  std::string directory_;
};

}  // namespace varve::image
