#pragma once

// RegistrySource: an image of a registry. Source: distribution-spec "Pulling manifests", "Pulling blobs".
// Thread rule and ownership: as ImageSource.

#include "imagetool/transport/registry_client.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

class RegistrySource : public ImageSource {
 public:
  // Returns: a Failure that names the registry.
  static ResultOrFailure<std::unique_ptr<RegistrySource>> open(const RegistryName& name,
                                                               const RegistryOptions& options);

  const std::string& name() const override { return text_; }
  // Returns: EBADMSG when a digest was asked for and something else came.
  ResultOrFailure<ManifestText> manifest() override;
  // Of what manifest() gave last: what the image can be pulled by again. Empty before.
  const std::string& manifest_digest() const { return manifest_digest_; }
  ResultOrFailure<ManifestText> manifest_of(const image::Digest& digest) override;
  // The stream goes on by itself where it breaks off.
  ResultOrFailure<std::unique_ptr<ByteStream>> open_blob(const image::Descriptor& blob,
                                                         std::uint64_t offset_bytes) override;

 private:
  explicit RegistrySource(std::unique_ptr<RegistryClient> client)
      : client_(std::move(client)), text_(client_->name().text()) {}
  ResultOrFailure<ManifestText> fetch_manifest(const std::string& reference);
  ResultOrFailure<std::unique_ptr<ByteStream>> open_once(const image::Descriptor& blob,
                                                         std::uint64_t offset_bytes);

  std::unique_ptr<RegistryClient> client_;
  std::string text_;
  std::string manifest_digest_;
};

}  // namespace varve::transport
