#pragma once

// TestImage: an image of others for tests: the files of an OCI layout in memory. A member may be anything, also what no tool makes.
// MemorySource: the same as an ImageSource.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/platform.h"
#include "imagetool/image/store/store.h"
#include "imagetool/transport/transport.h"

namespace varve::image {

inline constexpr const char* kTarType = "application/vnd.oci.image.layer.v1.tar";

// How `bytes` are packed: "none", "gzip", "zstd", "bzip2", "xz".
std::string packed(std::string_view bytes, const std::string& how);

class TestImage {
 public:
  static Json descriptor_of(std::string_view media_type, std::string_view bytes);
  // Keeps the bytes as a blob.
  Json put(std::string_view media_type, std::string_view bytes);
  // A layer on top, packed as it says.
  TestImage& add_tar(const std::string& tar, const std::string& how = "none", std::string media_type = {});
  TestImage& add_layer(const std::string& media_type, const std::string& bytes, const std::string& diff_id);
  // From the parts as they are then; index() gives an index of this manifest alone.
  std::string config_text() const { return config.dump(1); }
  std::string manifest_text();
  std::string index_text(const std::string& ref_name = {});
  // All files of a layout.
  std::map<std::string, std::string> layout(const std::string& ref_name = {});

  Json config = {{"architecture", host_architecture()},
                 {"os", "linux"},
                 {"config", {{"Cmd", {"sh"}}}},
                 {"rootfs", {{"type", "layers"}, {"diff_ids", Json::array()}}},
                 {"history", Json::array()}};
  Json layers = Json::array();
  Json manifest = {{"schemaVersion", 2}, {"mediaType", std::string(kManifestMediaType)}};
  std::string config_type = std::string(kConfigMediaType);
  std::map<std::string, std::string> blobs;  // by digest
};

class MemorySource : public transport::ImageSource {
 public:
  // `manifest`: what manifest() gives.
  MemorySource(transport::ManifestText manifest, std::map<std::string, std::string> blobs)
      : manifest_(std::move(manifest)), blobs_(std::move(blobs)) {}
  explicit MemorySource(TestImage image)
      : manifest_{std::string(kManifestMediaType), image.manifest_text()}, blobs_(std::move(image.blobs)) {}
  const std::string& name() const override { return name_; }
  ResultOrFailure<transport::ManifestText> manifest() override { return manifest_; }
  ResultOrFailure<transport::ManifestText> manifest_of(const Digest& digest) override;
  ResultOrFailure<std::unique_ptr<transport::ByteStream>> open_blob(const Descriptor& blob,
                                                                    std::uint64_t offset_bytes) override;
  // The blob of this digest never ends.
  std::string endless;

 private:
  const std::string name_ = "somewhere";
  transport::ManifestText manifest_;
  std::map<std::string, std::string> blobs_;
};

}  // namespace varve::image
