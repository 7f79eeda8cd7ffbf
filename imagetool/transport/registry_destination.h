#pragma once

// RegistryDestination: a name in a registry that an image is put under. Source: distribution-spec "Pushing blobs", "Pushing manifests".
// A blob is sent in one PATCH of its whole length, as docker and podman do: not all registries take pieces. When the connection breaks it
// is begun anew, a bounded number of times, as a new upload: docker's registry does not go on with one that broke off, since it looks
// for the length that it had in the state that it gave out before (registry/handlers/blobupload.go, "wrong offset").
// Thread rule and ownership: as ImageDestination.

#include <map>

#include "imagetool/transport/registry_client.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

inline constexpr int kMostUploads = 5;  // of one blob

class RegistryDestination : public ImageDestination {
 public:
  // Blobs that lie in other repositories of the registry, by digest: they are had from there without being sent.
  using Elsewhere = std::map<std::string, std::string>;

  // Returns: EINVAL for a name with a digest, a Failure that names the registry.
  static ResultOrFailure<std::unique_ptr<RegistryDestination>> open(const RegistryName& name,
                                                                    Elsewhere elsewhere,
                                                                    const RegistryOptions& options);

  const std::string& name() const override { return text_; }
  ResultOrFailure<bool> has_blob(const image::Descriptor& blob) override;
  StatusOrFailure put_blob(const image::Descriptor& blob, ByteStream& bytes) override;
  StatusOrFailure put_manifest(const ManifestText& manifest) override;

 private:
  RegistryDestination(std::unique_ptr<RegistryClient> client, Elsewhere elsewhere)
      : client_(std::move(client)), elsewhere_(std::move(elsewhere)), text_(client_->name().text()) {}

  // Where an upload goes, or nothing when the registry had the blob elsewhere.
  ResultOrFailure<std::optional<HttpUrl>> begin_upload(const image::Descriptor& blob);
  // Where the Location of `response` says that it goes on.
  ResultOrFailure<HttpUrl> next_location(const HttpResponse& response) const;
  // One attempt.
  StatusOrFailure send_blob(const image::Descriptor& blob, ByteStream& bytes);

  std::unique_ptr<RegistryClient> client_;
  const Elsewhere elsewhere_;
  std::string text_;
};

}  // namespace varve::transport
