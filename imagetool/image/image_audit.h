#pragma once

// audit: reads images of a store whole, every blob against its digest and every layer against its own checksums and those of the layers
// that it inherits from, and finds out what is the matter with each image: which of the files that it shows cannot be read, and where
// else the same content lies. (verify_layer does one layer; imagetool/verify.cc tells what is found.)
// Thread rule: one thread a call. Ownership: borrows store and monitor.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "imagetool/image/layer_verify.h"
#include "imagetool/image/store/store.h"

namespace varve::image {

// A blob as it lies in the store.
struct BlobHealth {
  Digest digest;
  std::uint64_t size_bytes = 0;  // that were read
  std::string problem;  // why it is not what its digest says, or that it is missing; empty: it is good
  bool missing = false;
  bool good() const { return problem.empty(); }
};

// A layer of an image, over those below it there.
struct LayerHealth {
  BlobHealth blob;
  VerifyReport report;  // of what can be read, whatever the blob's digest is; nothing when it is missing
  // In an image all layers are there, so a file that inherits from none of them is damaged as well.
  bool good() const { return blob.good() && report.good() && report.unchecked.empty(); }
  // Its own bytes are at fault, not those of a layer that it inherits from.
  bool is_cause() const { return !blob.good() || !report.problems.empty(); }
};

struct ImageHealth {
  std::string name;     // empty: it has none
  std::string digest;   // of the manifest, or what was asked for where that cannot be read
  std::string source;   // IndexEntry::source
  std::string problem;  // manifest or configuration cannot be read: why; nothing of the rest is known then
  std::optional<Image> image;
  std::vector<std::shared_ptr<const LayerHealth>>
      layers;  // bottom first; images with the same layers share them
  // The files that a mount of this image shows and that cannot be read, each with the layer (index) it comes from.
  struct LostFile {
    std::string path;
    std::size_t layer = 0;
    const VerifyReport::DamagedFile* damage = nullptr;  // of that layer
  };
  std::vector<LostFile> lost;
  bool cannot_be_mounted = false;  // a layer is missing, or its metadata is damaged: no file can be had
  bool good() const;
};

// Content that is damaged in one layer and can be read in another.
struct ContentCopy {
  Digest layer;
  std::string path;
};

struct Audit {
  std::vector<ImageHealth> images;
  std::vector<BlobHealth> others;  // blobs that none of these images has: for an audit of the whole store
  std::map<std::string, ContentCopy> copies;  // by the hexadecimal digest of the damaged file's content
  const ContentCopy* copy_of(const VerifyReport::DamagedFile& file) const;
  bool good() const;
};

// `references`: as for Store::resolve; none: all images, and all blobs that belong to none.
// Returns: ENOENT for an image that is not there; what keeps the store from being read at all; ECANCELED.
ResultOrFailure<Audit> audit(const Store& store, const std::vector<std::string>& references,
                             Monitor& monitor);

}  // namespace varve::image
