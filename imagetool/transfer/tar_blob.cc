#include "imagetool/transfer/tar_blob.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/base/check.h"
#include "fs/base/write_all.h"

namespace varve::transfer {
namespace {

Result<UniqueFd> nameless_file(const std::string& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (fd.valid()) return fd;
  // What open(2) says of file systems and kernels without O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) return Errno::last();
  std::string path = directory + "/layer.XXXXXX";
  fd.reset(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid() || ::unlink(path.c_str()) != 0) return Errno::last();
  return fd;
}

}  // namespace

std::string media_type_of(LayerForm form) {
  const std::string tar(transport::kTarLayerType);
  switch (form) {
    case LayerForm::kVarve:
      return std::string(image::kLayerMediaType);
    case LayerForm::kTar:
      return tar;
    case LayerForm::kTarGzip:
      return tar + "+gzip";
    case LayerForm::kTarZstd:
      return tar + "+zstd";
  }
  VARVE_CHECK(false);
}

TarBlob::TarBlob(UniqueFd fd, const std::string& directory, LayerForm form)
    : fd_(std::move(fd)), name_("a layer in " + directory), form_(form) {}

ResultOrFailure<std::unique_ptr<TarBlob>> TarBlob::create(const std::string& directory, LayerForm form,
                                                          const CompressorOptions& compression) {
  VARVE_CHECK(form != LayerForm::kVarve);
  Result<UniqueFd> fd = nameless_file(directory);
  if (!fd.ok()) return failure_from(fd.error(), directory);
  std::unique_ptr<TarBlob> tar(new TarBlob(std::move(fd).value(), directory, form));
  const ByteSink sink = [to = tar.get()](std::span<const std::byte> bytes) { return to->store(bytes); };
  if (form == LayerForm::kTarGzip) {
    VARVE_ASSIGN(tar->compressor_, make_gzip(compression, sink));
  } else if (form == LayerForm::kTarZstd) {
    VARVE_ASSIGN(tar->compressor_, make_zstd(compression, sink));
  }
  return tar;
}

StatusOrFailure TarBlob::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  VARVE_CHECK(offset_bytes == tar_bytes_);
  tar_bytes_ += bytes.size();
  tar_hash_.update(bytes);
  return compressor_ ? compressor_->put(bytes) : store(bytes);
}

StatusOrFailure TarBlob::store(std::span<const std::byte> bytes) {
  if (compressor_) blob_hash_.update(bytes);
  blob_bytes_ += bytes.size();
  const Status written =
      write_all(fd_.get(), std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  if (!written.ok()) return failure_from(written.error(), "writing " + name_);
  return {};
}

StatusOrFailure TarBlob::publish() {
  if (compressor_) VARVE_RETURN_IF_ERROR(compressor_->finish());
  diff_id_ = tar_hash_.finish();
  blob_ = image::Descriptor{media_type_of(form_), compressor_ ? blob_hash_.finish() : *diff_id_, blob_bytes_};
  return {};
}

}  // namespace varve::transfer
