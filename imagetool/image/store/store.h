#pragma once

// Store: the images of a machine or user, an OCI image layout on disk (image-spec image-layout.md), so that
// tools of others can copy it:
//
//   STORE/oci-layout, index.json   which names there are; index.json is replaced by rename under a lock
//   STORE/blobs/sha256/HEX         manifests, configurations and layer files, mode 0444, written once
//   STORE/tmp/, damaged/           layers under construction; what `imagetool verify --set-aside` has moved away
//   STORE/build-cache/, conversions/   what was made before (build_cache.h, conversions.h)
//   STORE/containers/              containers (container_state.h)
//
// The launcher and `varvefs --image` use nothing but this library of imagetool.
//
// Names: NAME[:TAG], the tag "latest" when absent; a digest "sha256:HEX" of a manifest, or its first 12 or
// more digits. Thread rule: a Store may be used from several threads at once; several processes may use one
// directory at once. Ownership: results are plain values; paths stay valid until the image is removed and
// `gc` runs.

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "imagetool/image/store/digest.h"
#include "imagetool/image/store/image_config.h"

namespace varve::image {

inline constexpr std::string_view kLayerMediaType = "application/vnd.varve.layer.v1";
inline constexpr std::string_view kConfigMediaType = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kManifestMediaType = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kIndexMediaType = "application/vnd.oci.image.index.v1+json";
// What Docker's registries call an index.
inline constexpr std::string_view kDockerIndexMediaType =
    "application/vnd.docker.distribution.manifest.list.v2+json";

// $VARVE_STORE; else /var/lib/varve for root; else $XDG_DATA_HOME/varve or ~/.local/share/varve.
std::string default_store_path();

// A blob, as manifests name it.
struct Descriptor {
  std::string media_type;
  Digest digest;
  std::uint64_t size_bytes = 0;
  // Of a varve layer: those of ours (layer_annotations.h). Those of others are not kept.
  std::map<std::string, std::string> annotations = {};
  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

struct Image {
  std::string name;  // "NAME:TAG"; empty when found by digest and without a name
  Digest digest;     // of the manifest
  Descriptor config_descriptor;
  ImageConfig config;
  std::vector<Descriptor> layers;        // bottom first
  std::vector<std::string> layer_paths;  // the files of `layers`, bottom first
};

struct ImageName {
  std::string repository;
  std::string tag;
  std::string text() const { return repository + ":" + tag; }
};
// Returns: a Failure that says what is wrong with `text` (empty, characters outside [A-Za-z0-9._/:-]).
ResultOrFailure<ImageName> parse_image_name(std::string_view text);

struct ListedImage {
  std::string name;
  Digest digest;
  std::string source;  // as in IndexEntry
};

// One line of index.json.
struct IndexEntry {
  std::string media_type;
  Digest digest;
  std::uint64_t size_bytes = 0;
  std::string name;  // annotation org.opencontainers.image.ref.name; may be empty
  std::string source =
      {};  // annotation org.varve.image.source: what `imagetool pull` fetches it by; empty: it was not pulled
};

class Store {
 public:
  // A directory that does not exist is an empty store; it is made by the first call that writes.
  // Returns: a Failure when `directory` holds something else, or cannot be read.
  static ResultOrFailure<Store> open(std::string directory);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) = delete;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  ~Store();

  const std::string& directory() const { return directory_; }
  std::string blob_path(const Digest& digest) const;

  // --- images ---
  // `reference`: NAME[:TAG], a digest, or 12 or more of its digits. Manifest and configuration are checked
  // against their digests; of layers only existence and size (verification reads them whole: `imagetool
  // verify`). Of an index for several platforms it is this machine's image. Returns: a Failure, ENOENT when there is no
  // such image, ENOTSUP for one that cannot be used here.
  ResultOrFailure<Image> resolve(std::string_view reference) const;
  // Likewise, but of layers nothing is looked at: they may be damaged or missing.
  ResultOrFailure<Image> read_image(std::string_view reference) const;
  // By name, sorted.
  ResultOrFailure<std::vector<ListedImage>> list() const;
  // `config.diff_ids` may hold those of the lowest layers; of the others they are the digests of the layer files
  // (docs/decisions/0016). An image of that name is replaced. The layers are in the store already.
  ResultOrFailure<Image> put_image(const ImageName& name, ImageConfig config,
                                   const std::vector<Descriptor>& layers);
  // Likewise with a manifest of any making. All that it names is in the store already.
  ResultOrFailure<Image> put_manifest(const ImageName& name, std::string_view manifest);
  // Returns: the new name's line.
  ResultOrFailure<IndexEntry> tag(std::string_view reference, const ImageName& new_name);
  // Remembers that the image of this name came by `imagetool pull SOURCE`; as long as the name is this image's, and for further
  // names that it is given. Returns: ENOENT.
  StatusOrFailure note_source(const ImageName& name, const std::string& source);
  // Takes one name away, or by digest all names of the image; blobs go with the next gc().
  // Returns: what was taken away; the name is empty when all of the image's were.
  ResultOrFailure<IndexEntry> remove(std::string_view reference);

  // --- blobs ---
  // One of that digest that is damaged is replaced.
  ResultOrFailure<Descriptor> put_blob(std::string_view media_type, std::string_view bytes);
  // Moves a finished file of scratch_directory() into the store: hashed, made durable, mode 0444.
  ResultOrFailure<Descriptor> adopt_file(std::string_view media_type, const std::string& path);
  // Likewise, of a file whose digest and size the caller has seen to be those of `descriptor`.
  StatusOrFailure adopt_checked(const Descriptor& descriptor, const std::string& path);
  // All blobs there are, sorted. Files of other names are passed over.
  ResultOrFailure<std::vector<Digest>> list_blobs() const;
  // Moves a blob, if it is other bytes than its digest says, to STORE/damaged, so that what looks for it finds none and makes or fetches
  // it again. Returns: whether it was moved; EBUSY while another process adds an image.
  ResultOrFailure<bool> set_aside(const Digest& digest);
  // Where files that adopt_file takes are made: STORE/tmp, created when absent.
  ResultOrFailure<std::string> scratch_directory();
  // Whether a file of its size lies where it belongs; its bytes are not looked at.
  bool has_blob(const Descriptor& descriptor) const;
  // A blob's bytes, checked against its digest. Returns: EFBIG over `limit_bytes`, EBADMSG for other bytes.
  Result<std::string> read_blob(const Digest& digest, std::uint64_t limit_bytes) const;

  struct GcSummary {
    std::uint64_t blobs_removed = 0;
    std::uint64_t bytes_removed = 0;
    std::uint64_t blobs_kept = 0;
  };
  struct GcOptions {
    bool dry_run = false;
    bool build_cache = false;  // the build cache goes too; otherwise what it names is kept
  };
  // Removes blobs that no image, no container, no mount and no step of the build cache needs, and leavings of broken-off imports.
  // Returns: EBUSY while another process adds an image.
  ResultOrFailure<GcSummary> gc(const GcOptions& options);

 private:
  using IndexChange = std::function<StatusOrFailure(std::string& text, const std::string& path)>;
  explicit Store(std::string directory) : directory_(std::move(directory)) {}

  StatusOrFailure prepare_for_writing();
  ResultOrFailure<std::vector<IndexEntry>> read_index() const;
  ResultOrFailure<IndexEntry> find(std::string_view reference) const;
  // What gc() and set_aside() need: nobody adds anything. Returns: EBUSY.
  ResultOrFailure<UniqueFd> lock_alone() const;
  // A manifest, index or configuration. `owner`, `what`: how messages call the image and the blob.
  ResultOrFailure<std::string> read_part(const Digest& digest, const std::string& owner,
                                         const char* what) const;
  ResultOrFailure<Image> load(const IndexEntry& entry) const;
  StatusOrFailure check_layers(const Image& image) const;
  // Applies `change` to the text of index.json under its lock.
  StatusOrFailure change_index(const IndexChange& change);
  StatusOrFailure add_reachable(const IndexEntry& entry, std::set<std::string>& hexes) const;

  std::string directory_;
  Mutex mutex_;
  // Held shared from the first write on, so that gc() of another process does not take blobs that no name
  // holds yet.
  UniqueFd in_use_ GUARDED_BY(mutex_);
};

}  // namespace varve::image
