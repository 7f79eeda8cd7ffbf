#include "imagetool/transport/archive_destination.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <regex>

#include "imagetool/image/store/json_text.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/transport/checked_copy.h"

namespace varve::transport {
namespace {

struct FreeEntry {
  void operator()(archive_entry* entry) const { ::archive_entry_free(entry); }
};
using EntryPtr = std::unique_ptr<archive_entry, FreeEntry>;

// What distribution/reference calls a name with a tag: the first component may be a host. What does not match, `docker load`
// and others refuse, the whole archive with it.
bool is_docker_reference(const std::string& name) {
  static const std::regex kReference(
      "([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*"
      ":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
  return name.size() <= 255 && std::regex_match(name, kReference);
}

std::string hex_of(const image::Descriptor& blob) {
  return std::string(blob.digest.hex());
}

}  // namespace

void ArchiveDestination::CloseArchive::operator()(archive* open) const {
  ::archive_write_free(open);
}

ArchiveDestination::ArchiveDestination(std::unique_ptr<image::LayerOutput> output, ArchiveKind kind,
                                       std::string image_name)
    : kind_(kind),
      image_name_(std::move(image_name)),
      name_((kind == ArchiveKind::kOci ? "oci-archive:" : "docker-archive:") + output->name()),
      output_(std::move(output)),
      writer_(::archive_write_new()) {}

ArchiveDestination::~ArchiveDestination() {
  // libarchive writes the end when it closes, which would make a part look whole.
  if (output_status_.ok()) output_status_ = Failure{ECANCELED, name_ + ": closed"};
}

ResultOrFailure<std::unique_ptr<ArchiveDestination>> ArchiveDestination::open(
    std::unique_ptr<image::LayerOutput> output, ArchiveKind kind, std::string image_name) {
  if (image_name.empty()) return Failure{EINVAL, output->name() + ": the image has no name (give FILE:NAME)"};
  if (kind == ArchiveKind::kDocker && !is_docker_reference(image_name)) {
    return Failure{EINVAL, output->name() + ": \"" + image_name +
                               "\" is no name that docker takes (give FILE:NAME:TAG, NAME of lower-case "
                               "letters and digits, with single '.', '_', '-', '/' between them)"};
  }
  std::unique_ptr<ArchiveDestination> archive(
      new ArchiveDestination(std::move(output), kind, std::move(image_name)));
  VARVE_RETURN_IF_ERROR(archive->start());
  return archive;
}

StatusOrFailure ArchiveDestination::start() {
  if (!writer_) return failure_from(Errno{ENOMEM}, name_);
  // ustar, and pax where a member is too large for it.
  if (::archive_write_set_format_pax_restricted(writer_.get()) != ARCHIVE_OK ||
      ::archive_write_open(writer_.get(), this, nullptr, &ArchiveDestination::on_write, nullptr) !=
          ARCHIVE_OK) {
    return failure();
  }
  if (kind_ == ArchiveKind::kDocker) return {};
  MutexLock lock(mutex_);
  VARVE_RETURN_IF_ERROR(add_text("oci-layout", std::string(kLayoutText)));
  VARVE_RETURN_IF_ERROR(add_directory("blobs/"));
  return add_directory("blobs/sha256/");
}

// Never says no: after a failure of its client libarchive 3.6 frees not all that it has. What comes after one is dropped.
ssize_t ArchiveDestination::on_write(archive*, void* self, const void* bytes, std::size_t size) {
  auto* const destination = static_cast<ArchiveDestination*>(self);
  StatusOrFailure& status = destination->output_status_;
  if (status.ok()) {
    status = destination->output_->write_at(destination->written_bytes_,
                                            std::span(static_cast<const std::byte*>(bytes), size));
  }
  destination->written_bytes_ += size;
  return static_cast<ssize_t>(size);
}

Failure ArchiveDestination::failure() {
  if (!output_status_.ok()) return output_status_.error();
  const char* why = ::archive_error_string(writer_.get());
  return Failure{EIO, name_ + ": " + (why ? why : "cannot be written")};
}

StatusOrFailure ArchiveDestination::begin_member(const std::string& path, std::uint64_t size_bytes) {
  const EntryPtr entry(::archive_entry_new());
  if (!entry) return failure_from(Errno{ENOMEM}, name_);
  ::archive_entry_set_pathname(entry.get(), path.c_str());
  ::archive_entry_set_filetype(entry.get(), path.ends_with('/') ? AE_IFDIR : AE_IFREG);
  ::archive_entry_set_perm(entry.get(), path.ends_with('/') ? 0755 : 0644);
  ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size_bytes));
  ::archive_entry_set_mtime(entry.get(), 0, 0);
  if (::archive_write_header(writer_.get(), entry.get()) != ARCHIVE_OK || !output_status_.ok())
    return failure();
  members_.insert(path);
  return {};
}

StatusOrFailure ArchiveDestination::add_directory(const std::string& path) {
  return begin_member(path, 0);
}

StatusOrFailure ArchiveDestination::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const la_ssize_t count = ::archive_write_data(writer_.get(), bytes.data(), bytes.size());
    if (count <= 0 || !output_status_.ok()) return failure();
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

StatusOrFailure ArchiveDestination::add_text(const std::string& path, const std::string& text) {
  VARVE_RETURN_IF_ERROR(begin_member(path, text.size()));
  return write(std::as_bytes(std::span(text)));
}

ResultOrFailure<std::string> ArchiveDestination::path_of(const image::Descriptor& blob) const {
  if (kind_ == ArchiveKind::kOci) return "blobs/sha256/" + hex_of(blob);
  if (blob.media_type == image::kConfigMediaType) return hex_of(blob) + ".json";
  if (blob.media_type == kTarLayerType) return hex_of(blob) + ".tar";
  return Failure{ENOTSUP, name_ + ": its layers are plain tars, not " + blob.media_type};
}

ResultOrFailure<bool> ArchiveDestination::has_blob(const image::Descriptor& blob) {
  VARVE_ASSIGN(const std::string path, path_of(blob));
  MutexLock lock(mutex_);
  return members_.count(path) > 0;
}

StatusOrFailure ArchiveDestination::put_blob(const image::Descriptor& blob, ByteStream& bytes) {
  MutexLock lock(mutex_);
  return put_blob_locked(blob, bytes);
}

StatusOrFailure ArchiveDestination::put_blob_locked(const image::Descriptor& blob, ByteStream& bytes) {
  VARVE_ASSIGN(const std::string path, path_of(blob));
  // A second member of one name would be another file to some readers.
  if (members_.count(path) > 0) return {};
  VARVE_RETURN_IF_ERROR(begin_member(path, blob.size_bytes));
  return checked_copy(bytes, blob, name_, [&](std::span<const std::byte> piece) { return write(piece); });
}

StatusOrFailure ArchiveDestination::put_manifest(const ManifestText& manifest) {
  MutexLock lock(mutex_);
  if (kind_ == ArchiveKind::kOci) {
    const image::Descriptor blob{manifest.media_type, image::Digest::of(manifest.bytes),
                                 manifest.bytes.size()};
    TextStream bytes(manifest.bytes);
    VARVE_RETURN_IF_ERROR(put_blob_locked(blob, bytes));
    std::string index(image::kEmptyIndex);
    VARVE_RETURN_IF_ERROR(image::set_name_in_index(
        index, image::IndexEntry{blob.media_type, blob.digest, blob.size_bytes, image_name_}, name_));
    VARVE_RETURN_IF_ERROR(add_text("index.json", index));
  } else {
    VARVE_ASSIGN(const image::Manifest said, image::parse_manifest(manifest.bytes, name_));
    image::Json layers = image::Json::array();
    for (const image::Descriptor& layer : said.layers) layers.push_back(hex_of(layer) + ".tar");
    const image::Json one{{"Config", hex_of(said.config) + ".json"},
                          {"RepoTags", {image_name_}},
                          {"Layers", std::move(layers)}};
    VARVE_RETURN_IF_ERROR(add_text("manifest.json", image::json_text(image::Json::array({one}))));
  }
  if (::archive_write_close(writer_.get()) != ARCHIVE_OK || !output_status_.ok()) return failure();
  return output_->publish();
}

}  // namespace varve::transport
