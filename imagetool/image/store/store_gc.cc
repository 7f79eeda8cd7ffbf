// Store::gc: removal of what no image, no container and no cached step needs.

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "imagetool/image/store/atomic_file.h"
#include "imagetool/image/store/build_cache.h"
#include "imagetool/image/store/container_state.h"
#include "imagetool/image/store/conversions.h"
#include "imagetool/image/store/digest.h"
#include "imagetool/image/store/store.h"
#include "imagetool/image/store/store_index.h"

namespace varve::image {
namespace {

constexpr std::uint64_t kMetadataLimitBytes = 16 << 20;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Empty when the directory does not exist.
Result<std::vector<std::string>> names_in(const std::string& path) {
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path.c_str()));
  std::vector<std::string> names;
  if (!directory) {
    if (errno == ENOENT) return names;
    return Errno::last();
  }
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return Errno::last();
  return names;
}

bool is_manifest_or_index(std::string_view media_type) {
  return media_type == kManifestMediaType || media_type == kIndexMediaType ||
         media_type.starts_with("application/vnd.docker.distribution.manifest.");
}

// Whether somebody has the layer open: a mount, above all (fs/layer/layer_file_open.cc).
bool is_in_use(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  return file.valid() && ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace

// Everything that `entry` leads to, itself included. A manifest that cannot be read stops the gc: it is safer
// to keep.
StatusOrFailure Store::add_reachable(const IndexEntry& entry, std::set<std::string>& hexes) const {
  std::vector<Descriptor> pending = {{entry.media_type, entry.digest, entry.size_bytes}};
  while (!pending.empty()) {
    const Descriptor current = pending.back();
    pending.pop_back();
    if (!hexes.insert(std::string(current.digest.hex())).second) continue;
    if (!is_manifest_or_index(current.media_type)) continue;
    const Result<std::string> text = read_blob(current.digest, kMetadataLimitBytes);
    // Of an index only some images may be here, and of a subject nothing need be.
    if (!text.ok() && text.error().value == ENOENT && current.digest != entry.digest) continue;
    if (!text.ok()) {
      return failure_from(text.error(), blob_path(current.digest) + ": cannot tell what image " + entry.name +
                                            " needs (remove the image first)");
    }
    VARVE_ASSIGN(const std::vector<Descriptor> found, descriptors_in(*text, blob_path(current.digest)));
    pending.insert(pending.end(), found.begin(), found.end());
  }
  return {};
}

ResultOrFailure<UniqueFd> Store::lock_alone() const {
  const std::string path = directory_ + "/store.lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.valid()) return failure_from(Errno::last(), path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return failure_from(Errno::last(), path);
  return Failure{EBUSY,
                 directory_ + ": an image is being added by another process (wait for it, then try again)"};
}

ResultOrFailure<std::vector<Digest>> Store::list_blobs() const {
  const std::string blobs = directory_ + "/blobs/sha256";
  const Result<std::vector<std::string>> names = names_in(blobs);
  if (!names.ok()) return failure_from(names.error(), blobs);
  std::vector<Digest> found;
  for (const std::string& name : *names) {
    const Result<Digest> digest = Digest::parse("sha256:" + name);
    if (digest.ok()) found.push_back(*digest);
  }
  std::sort(found.begin(), found.end());
  return found;
}

ResultOrFailure<bool> Store::set_aside(const Digest& digest) {
  VARVE_ASSIGN(const UniqueFd lock, lock_alone());
  const std::string path = blob_path(digest);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid() && errno == ENOENT) return false;
  if (file.valid()) {
    // Somebody may have replaced it by a good one since it was looked at.
    const Result<DigestAndSize> found = digest_of_file(file.get());
    if (found.ok() && found->digest == digest) return false;
  }
  const std::string aside = directory_ + "/damaged";
  if (const Status made = make_directories(aside, 0700); !made.ok()) return failure_from(made.error(), aside);
  const std::string to = aside + "/" + std::string(digest.hex());
  if (::rename(path.c_str(), to.c_str()) != 0) return failure_from(Errno::last(), to);
  return true;
}

ResultOrFailure<Store::GcSummary> Store::gc(const GcOptions& options) {
  GcSummary summary;
  if (::access((directory_ + "/oci-layout").c_str(), F_OK) != 0) return summary;
  VARVE_ASSIGN(const UniqueFd lock, lock_alone());
  std::set<std::string> needed;
  VARVE_ASSIGN(const std::vector<IndexEntry> entries, read_index());
  for (const IndexEntry& entry : entries) VARVE_RETURN_IF_ERROR(add_reachable(entry, needed));
  VARVE_ASSIGN(const std::vector<ContainerState> containers, ContainerStore(directory_).list());
  for (const ContainerState& container : containers) {
    for (const std::string& path : container.layer_paths)
      needed.insert(path.substr(path.find_last_of('/') + 1));
    // Its manifest too, so that the container can be committed after the image lost its name.
    const Result<Digest> digest = Digest::parse(container.image_digest);
    if (digest.ok() && ::access(blob_path(*digest).c_str(), F_OK) == 0) {
      VARVE_RETURN_IF_ERROR(
          add_reachable({std::string(kManifestMediaType), *digest, 0, container.image_name}, needed));
    }
  }

  const BuildCache cache(directory_);
  if (!options.build_cache) {
    VARVE_ASSIGN(const std::vector<Digest> layers, cache.layers());
    for (const Digest& layer : layers) needed.insert(std::string(layer.hex()));
  } else if (!options.dry_run) {
    VARVE_RETURN_IF_ERROR(cache.clear());
  }

  const std::string blobs = directory_ + "/blobs/sha256";
  const Result<std::vector<std::string>> names = names_in(blobs);
  if (!names.ok()) return failure_from(names.error(), blobs);
  for (const std::string& name : *names) {
    const std::string path = blobs + "/" + name;
    if (needed.contains(name) || is_in_use(path)) {
      ++summary.blobs_kept;
      continue;
    }
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) return failure_from(Errno::last(), path);
    if (!options.dry_run && ::unlink(path.c_str()) != 0) return failure_from(Errno::last(), path);
    ++summary.blobs_removed;
    summary.bytes_removed += static_cast<std::uint64_t>(status.st_size);
  }
  if (!options.dry_run) {
    VARVE_RETURN_IF_ERROR(Conversions(directory_).forget_absent(*this));
    const Status cleared = remove_tree(directory_ + "/tmp");
    if (!cleared.ok()) return failure_from(cleared.error(), directory_ + "/tmp");
  }
  return summary;
}

}  // namespace varve::image
