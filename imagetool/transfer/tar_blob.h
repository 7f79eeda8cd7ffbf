#pragma once

// TarBlob: the tar of a layer on its way to becoming a blob: hashed, compressed, hashed again and written to a file without a name,
// all in one pass; then read back. Thread rule: one thread; the compression has its own. Owns the file, which is gone with it.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/base/unique_fd.h"
#include "imagetool/image/store/store.h"
#include "imagetool/image/writer/layer_output.h"
#include "imagetool/transfer/compressor.h"
#include "imagetool/transfer/give_out.h"

namespace varve::transfer {

class TarBlob : public image::LayerOutput {
 public:
  // `directory`: where the file is made. Requires: `form` is one of tars.
  static ResultOrFailure<std::unique_ptr<TarBlob>> create(const std::string& directory, LayerForm form,
                                                          const CompressorOptions& compression);

  const std::string& name() const override { return name_; }
  StatusOrFailure write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  int readable_fd() const override { return fd_.get(); }
  // The archive is complete.
  StatusOrFailure publish() override;

  // Requires: it was published.
  const image::Descriptor& blob() const { return *blob_; }
  const image::Digest& diff_id() const { return *diff_id_; }

 private:
  TarBlob(UniqueFd fd, const std::string& directory, LayerForm form);
  StatusOrFailure store(std::span<const std::byte> bytes);

  UniqueFd fd_;
  const std::string name_;
  const LayerForm form_;
  std::unique_ptr<Compressor> compressor_;  // none: a plain tar
  std::uint64_t tar_bytes_ = 0;
  image::Sha256 tar_hash_;
  std::uint64_t blob_bytes_ = 0;
  image::Sha256 blob_hash_;
  std::optional<image::Digest> diff_id_;
  std::optional<image::Descriptor> blob_;
};

// "application/vnd.oci.image.layer.v1.tar+gzip" and so on.
std::string media_type_of(LayerForm form);

}  // namespace varve::transfer
