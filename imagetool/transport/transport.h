#pragma once

// Where images come from and go to besides our own store: ImageSource and ImageDestination, with one implementation for each kind of
// place: OCI layouts and archives of them, archives of `docker save`, registries. They move manifests and blobs as they are and
// know nothing of layers; what is inside is for imagetool/transfer. (The split of containers/image: types/types.go.)
// Nothing that a source gives is trusted. What a digest names is checked against it by who asked for it; only the image's own
// manifest is checked by the source, for it alone knows what its place says of that.
// Thread rule: one thread an object, unless said otherwise. Ownership: streams borrow the source that opened them.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "imagetool/image/store/digest.h"
#include "imagetool/image/store/store.h"

namespace varve::transport {

// Bytes that are read from the first to the last.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Fills a part of `into`. Returns: how many bytes; 0 at the end. Requires: `into` is not empty.
  virtual ResultOrFailure<std::size_t> read(std::span<std::byte> into) = 0;
  // The next byte is the first one again. Returns: ENOTSUP where bytes can be had only once.
  virtual StatusOrFailure rewind() { return Failure{ENOTSUP, "these bytes can be read only once"}; }
};

// A manifest or index as it lies there.
struct ManifestText {
  std::string media_type;  // as the place calls it; empty: unknown, the text may say it
  std::string bytes;
};

// No manifest, index or configuration may be larger (distribution-spec "manifest maximum size"; containers/image has the same).
inline constexpr std::uint64_t kMostManifestBytes = 4 << 20;

// Nor may an image have more layers: as many as a mount takes.
inline constexpr std::size_t kMostLayers = 1000;
// image-spec layer.md; "+gzip" and "+zstd" are put behind it.
inline constexpr std::string_view kTarLayerType = "application/vnd.oci.image.layer.v1.tar";
// The file oci-layout of a layout, image-spec image-layout.md.
inline constexpr std::string_view kLayoutText = "{\"imageLayoutVersion\":\"1.0.0\"}";

// One image in one place.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // What messages call it: "oci:DIR:NAME", "registry.example/app:1".
  virtual const std::string& name() const = 0;
  // The manifest of the image, or an index of manifests for several platforms. Returns: EBADMSG when it is not what its place says.
  virtual ResultOrFailure<ManifestText> manifest() = 0;
  // One that the index names.
  virtual ResultOrFailure<ManifestText> manifest_of(const image::Digest& digest) = 0;
  // A configuration or a layer, from `offset_bytes` on: what was broken off is gone on with. It may give more or less than
  // the descriptor says. May be called from several threads at once; each stream belongs to one of them.
  virtual ResultOrFailure<std::unique_ptr<ByteStream>> open_blob(const image::Descriptor& blob,
                                                                 std::uint64_t offset_bytes) = 0;
};

class ImageDestination {
 public:
  virtual ~ImageDestination() = default;
  virtual const std::string& name() const = 0;
  // Blobs are to be put one after the other, in the manifest's order, the configuration last: what comes of them depends on it.
  virtual bool in_order() const { return false; }
  // Whether it is there already, so that put_blob() need not be called.
  virtual ResultOrFailure<bool> has_blob(const image::Descriptor& blob) = 0;
  // `bytes` are checked against the descriptor on the way; some destinations begin anew after a failure, if `bytes` can be rewound.
  // May be called from several threads at once.
  virtual StatusOrFailure put_blob(const image::Descriptor& blob, ByteStream& bytes) = 0;
  // The image's own manifest. Requires: all blobs that it names are there. After it the image is complete.
  virtual StatusOrFailure put_manifest(const ManifestText& manifest) = 0;
};

}  // namespace varve::transport
