#pragma once

// ArchiveDestination: an image goes into a new archive of its own: a tar of an OCI image layout (what `skopeo oci-archive:`, `podman
// load` and `ctr image import` read), or what `docker save` writes and `docker load`, `podman load` and `skopeo docker-archive:`
// read: layers as plain tars, the configuration, and manifest.json, which names them. Equal images, put in equal order, give equal
// bytes: no times, no owners. The file gets its name when the image is complete.
// Thread rule: as ImageDestination; blobs are written one after the other.

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "fs/base/mutex.h"
#include "imagetool/image/writer/layer_output.h"
#include "imagetool/transport/transport.h"

struct archive;

namespace varve::transport {

enum class ArchiveKind : std::uint8_t { kOci, kDocker };

class ArchiveDestination : public ImageDestination {
 public:
  // `output`: a file, or a pipe. `image_name`: as of LayoutDestination; for docker a reference with its tag ("web:1").
  // Returns: EINVAL for a name that the readers of the archive would not take.
  static ResultOrFailure<std::unique_ptr<ArchiveDestination>> open(std::unique_ptr<image::LayerOutput> output,
                                                                   ArchiveKind kind, std::string image_name);
  ArchiveDestination(const ArchiveDestination&) = delete;
  ArchiveDestination& operator=(const ArchiveDestination&) = delete;
  ~ArchiveDestination() override;

  const std::string& name() const override { return name_; }
  bool in_order() const override { return true; }
  ResultOrFailure<bool> has_blob(const image::Descriptor& blob) override;
  // Returns: also ENOTSUP for a layer that is no plain tar, in an archive for docker.
  StatusOrFailure put_blob(const image::Descriptor& blob, ByteStream& bytes) override;
  StatusOrFailure put_manifest(const ManifestText& manifest) override;

 private:
  struct CloseArchive {
    void operator()(archive* open) const;
  };
  ArchiveDestination(std::unique_ptr<image::LayerOutput> output, ArchiveKind kind, std::string image_name);
  static ssize_t on_write(archive* writer, void* self, const void* bytes, std::size_t size);
  StatusOrFailure start();
  StatusOrFailure begin_member(const std::string& path, std::uint64_t size_bytes) REQUIRES(mutex_);
  StatusOrFailure add_directory(const std::string& path) REQUIRES(mutex_);
  StatusOrFailure write(std::span<const std::byte> bytes);  // of the member, with mutex_ held
  StatusOrFailure add_text(const std::string& path, const std::string& text) REQUIRES(mutex_);
  StatusOrFailure put_blob_locked(const image::Descriptor& blob, ByteStream& bytes) REQUIRES(mutex_);
  ResultOrFailure<std::string> path_of(const image::Descriptor& blob) const;
  Failure failure();

  const ArchiveKind kind_;
  const std::string image_name_;
  const std::string name_;
  Mutex mutex_;
  std::unique_ptr<image::LayerOutput> output_;
  std::uint64_t written_bytes_ = 0;                // to the output
  StatusOrFailure output_status_;                  // its first failure
  std::unique_ptr<archive, CloseArchive> writer_;  // after what it writes to
  std::set<std::string> members_ GUARDED_BY(mutex_);
};

}  // namespace varve::transport
