#pragma once

// OciLayoutSource: an image in an OCI image layout (image-spec image-layout.md), a directory or an archive of one.
// Thread rule: that of ImageSource. Ownership: owns the files.

#include <memory>
#include <string>
#include <vector>

#include "imagetool/transport/image_files.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

class OciLayoutSource : public ImageSource {
 public:
  // `reference`: the image's annotation org.opencontainers.image.ref.name or io.containerd.image.name, by their familiar names; empty: the only image, or, when
  // the layout says for which platform each of them is, any of these. `name`: how messages call it.
  // Returns: EINVAL when index.json or `reference` does not say which image, with a message that says which ones there are; ENOENT.
  static ResultOrFailure<std::unique_ptr<OciLayoutSource>> open(std::unique_ptr<ImageFiles> files,
                                                                const std::string& reference,
                                                                std::string name);
  // Whether the files are a layout.
  static bool is_one(const ImageFiles& files) { return files.has("oci-layout") && files.has("index.json"); }

  const std::string& name() const override { return name_; }
  ResultOrFailure<ManifestText> manifest() override { return manifest_; }
  ResultOrFailure<ManifestText> manifest_of(const image::Digest& digest) override;
  ResultOrFailure<std::unique_ptr<ByteStream>> open_blob(const image::Descriptor& blob,
                                                         std::uint64_t offset_bytes) override;
  // What the layout calls the image: both annotations, the fuller first; as they are.
  const std::vector<std::string>& annotated_names() const { return annotated_names_; }

 private:
  OciLayoutSource(std::unique_ptr<ImageFiles> files, std::string name)
      : files_(std::move(files)), name_(std::move(name)) {}
  StatusOrFailure choose(const std::string& reference);

  const std::unique_ptr<ImageFiles> files_;
  const std::string name_;
  ManifestText manifest_;
  std::vector<std::string> annotated_names_;
};

}  // namespace varve::transport
