#pragma once

// DockerArchiveSource: an image in what `docker save` writes: manifest.json, which names the configuration and the layers of each image
// (moby image/spec/v1.2.md). There are no digests in it, and no manifest as registries know it: such a one is made from the digests of
// what is there, which proves nothing of where it came from, but binds the layers to the configuration's diff_ids for who checks these.
// Thread rule: that of ImageSource. Ownership: owns the files.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "imagetool/transport/image_files.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

class DockerArchiveSource : public ImageSource {
 public:
  // `reference`: one of the image's RepoTags, by its familiar name; empty: the only image. `name`: how messages call it.
  // Returns: EINVAL when manifest.json makes no sense or does not say which image; ENOENT.
  static ResultOrFailure<std::unique_ptr<DockerArchiveSource>> open(std::unique_ptr<ImageFiles> files,
                                                                    const std::string& reference,
                                                                    std::string name);
  // Whether the files are such an archive.
  static bool is_one(const ImageFiles& files);

  const std::string& name() const override { return name_; }
  // Hashes all layers, the first time.
  ResultOrFailure<ManifestText> manifest() override;
  ResultOrFailure<ManifestText> manifest_of(const image::Digest& digest) override;
  // Requires: manifest() was good.
  ResultOrFailure<std::unique_ptr<ByteStream>> open_blob(const image::Descriptor& blob,
                                                         std::uint64_t offset_bytes) override;
  // The image's RepoTags, as they are.
  const std::vector<std::string>& tags() const { return image_.tags; }

 private:
  struct SavedImage {
    std::string config;  // paths
    std::vector<std::string> layers;
    std::vector<std::string> tags;
  };
  DockerArchiveSource(std::unique_ptr<ImageFiles> files, std::string name)
      : files_(std::move(files)), name_(std::move(name)) {}
  static ResultOrFailure<std::vector<SavedImage>> read_images(const std::string& text,
                                                              const std::string& where);
  StatusOrFailure choose(const std::string& reference);
  // Hashes the file, and remembers what it is called.
  ResultOrFailure<image::Descriptor> describe(const std::string& path, std::string_view media_type);

  const std::unique_ptr<ImageFiles> files_;
  const std::string name_;
  SavedImage image_;
  std::string manifest_;                            // empty: not made yet
  std::map<image::Digest, std::string> paths_;      // of blobs
  std::map<std::string, image::Descriptor> known_;  // by path
};

}  // namespace varve::transport
