#include "imagetool/transport/layout_destination.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/store_index.h"
#include "imagetool/image/writer/layer_output_file.h"
#include "imagetool/transport/checked_copy.h"

namespace varve::transport {
namespace {

constexpr std::uint64_t kMostIndexBytes = 16 << 20;
constexpr const char* kStoreLock = "/store.lock";  // what a store has beside a layout (image::Store)

}  // namespace

LayoutDestination::LayoutDestination(std::string directory, std::string image_name)
    : directory_(std::move(directory)),
      image_name_(std::move(image_name)),
      name_("oci:" + directory_ + ":" + image_name_) {}

ResultOrFailure<std::unique_ptr<LayoutDestination>> LayoutDestination::open(std::string directory,
                                                                            std::string image_name) {
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (directory.empty()) return Failure{EINVAL, "the image layout has no path"};
  if (image_name.empty()) return Failure{EINVAL, directory + ": the image has no name (give DIR:NAME)"};
  std::unique_ptr<LayoutDestination> layout(
      new LayoutDestination(std::move(directory), std::move(image_name)));
  VARVE_RETURN_IF_ERROR(layout->prepare());
  return layout;
}

StatusOrFailure LayoutDestination::prepare() {
  VARVE_RETURN_IF_ERROR(make_directory(directory_));
  if (::access((directory_ + kStoreLock).c_str(), F_OK) == 0) {
    return Failure{EEXIST, directory_ +
                               ": is an image store of varve, which keeps no layers of other forms "
                               "(give another directory)"};
  }
  lock_.reset(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock_.valid()) return failure_from(Errno::last(), directory_);
  while (::flock(lock_.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return failure_from(Errno::last(), "locking " + directory_);
  }
  const std::string layout_path = directory_ + "/oci-layout";
  const Result<std::string> layout = image::read_small_file(layout_path, kMostIndexBytes);
  if (layout.ok()) {
    VARVE_RETURN_IF_ERROR(image::check_layout_version(*layout, layout_path));
  } else if (layout.error().value == ENOENT) {
    VARVE_RETURN_IF_ERROR(image::check_can_become_store(directory_));
  } else {
    return failure_from(layout.error(), layout_path);
  }
  VARVE_RETURN_IF_ERROR(make_directory(directory_ + "/blobs"));
  return make_directory(directory_ + "/blobs/sha256");
}

StatusOrFailure LayoutDestination::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) {
    made_directories_.push_back(path);
    return {};
  }
  const std::size_t slash = path.rfind('/');
  if (errno == ENOENT && slash != std::string::npos && slash > 0) {
    VARVE_RETURN_IF_ERROR(make_directory(path.substr(0, slash)));
    if (::mkdir(path.c_str(), 0777) == 0) {
      made_directories_.push_back(path);
      return {};
    }
  }
  if (errno == EEXIST) return {};
  return failure_from(Errno::last(), path);
}

LayoutDestination::~LayoutDestination() {
  if (complete_) return;
  MutexLock lock(mutex_);
  for (const std::string& file : made_files_) ::unlink(file.c_str());
  for (auto one = made_directories_.rbegin(); one != made_directories_.rend(); ++one) ::rmdir(one->c_str());
}

std::string LayoutDestination::path_of(const image::Digest& digest) const {
  return directory_ + "/blobs/sha256/" + std::string(digest.hex());
}

ResultOrFailure<bool> LayoutDestination::has_blob(const image::Descriptor& blob) {
  struct stat status {};
  return ::stat(path_of(blob.digest).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == blob.size_bytes;
}

StatusOrFailure LayoutDestination::put_blob(const image::Descriptor& blob, ByteStream& bytes) {
  const std::string path = path_of(blob.digest);
  VARVE_ASSIGN(const auto file, image::LayerOutputFile::create(path));
  std::uint64_t offset_bytes = 0;
  VARVE_RETURN_IF_ERROR(checked_copy(bytes, blob, name_, [&](std::span<const std::byte> piece) {
    const StatusOrFailure written = file->write_at(offset_bytes, piece);
    offset_bytes += piece.size();
    return written;
  }));
  const bool is_new = ::access(path.c_str(), F_OK) != 0;
  VARVE_RETURN_IF_ERROR(file->publish());
  MutexLock lock(mutex_);
  if (is_new) made_files_.push_back(path);
  return {};
}

StatusOrFailure LayoutDestination::put_manifest(const ManifestText& manifest) {
  const image::Descriptor blob{manifest.media_type, image::Digest::of(manifest.bytes), manifest.bytes.size()};
  VARVE_ASSIGN(const bool present, has_blob(blob));
  if (!present) {
    TextStream bytes(manifest.bytes);
    VARVE_RETURN_IF_ERROR(put_blob(blob, bytes));
  }
  const std::string layout_path = directory_ + "/oci-layout";
  if (::access(layout_path.c_str(), F_OK) != 0) {
    const Status written = image::write_file_atomically(layout_path, kLayoutText, 0644);
    if (!written.ok()) return failure_from(written.error(), layout_path);
    MutexLock lock(mutex_);
    made_files_.push_back(layout_path);
  }
  VARVE_RETURN_IF_ERROR(replace_name(blob, manifest.media_type));
  complete_ = true;
  return {};
}

StatusOrFailure LayoutDestination::replace_name(const image::Descriptor& manifest,
                                                const std::string& media_type) const {
  const std::string path = directory_ + "/index.json";
  Result<std::string> text = image::read_small_file(path, kMostIndexBytes);
  if (!text.ok() && text.error().value != ENOENT) return failure_from(text.error(), path);
  std::string index = text.ok() ? std::move(text).value() : std::string(image::kEmptyIndex);
  VARVE_RETURN_IF_ERROR(image::set_name_in_index(
      index, image::IndexEntry{media_type, manifest.digest, manifest.size_bytes, image_name_}, path));
  const Status written = image::write_file_atomically(path, index, 0644);
  if (!written.ok()) return failure_from(written.error(), path);
  return {};
}

}  // namespace varve::transport
