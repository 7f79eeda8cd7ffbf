#pragma once

// LayoutDestination: an image goes into an OCI image layout, a directory (image-spec image-layout.md). What else is there stays; an
// image of that name gives the name up. Only once the image is complete index.json names it, replaced by rename; an object that dies
// before takes away what it wrote. The layout is locked (flock on its directory) against others of us as long as the object lives.
// Thread rule: as ImageDestination.

#include <memory>
#include <string>
#include <vector>

#include "fs/base/mutex.h"
#include "fs/base/unique_fd.h"
#include "imagetool/transport/transport.h"

namespace varve::transport {

class LayoutDestination : public ImageDestination {
 public:
  // `directory`: a layout, empty, or not there yet. `image_name`: what index.json calls the image (annotation
  // org.opencontainers.image.ref.name). Returns: EEXIST for a directory that holds other things, or is a store of ours.
  static ResultOrFailure<std::unique_ptr<LayoutDestination>> open(std::string directory,
                                                                  std::string image_name);
  LayoutDestination(const LayoutDestination&) = delete;
  LayoutDestination& operator=(const LayoutDestination&) = delete;
  ~LayoutDestination() override;

  const std::string& name() const override { return name_; }
  ResultOrFailure<bool> has_blob(const image::Descriptor& blob) override;
  StatusOrFailure put_blob(const image::Descriptor& blob, ByteStream& bytes) override;
  StatusOrFailure put_manifest(const ManifestText& manifest) override;

 private:
  LayoutDestination(std::string directory, std::string image_name);
  StatusOrFailure prepare();
  StatusOrFailure make_directory(const std::string& path);
  StatusOrFailure replace_name(const image::Descriptor& manifest, const std::string& media_type) const;
  std::string path_of(const image::Digest& digest) const;

  const std::string directory_;
  const std::string image_name_;
  const std::string name_;
  UniqueFd lock_;
  bool complete_ = false;
  Mutex mutex_;
  std::vector<std::string> made_directories_;  // in this order
  std::vector<std::string> made_files_ GUARDED_BY(mutex_);
};

}  // namespace varve::transport
