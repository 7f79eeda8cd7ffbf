#include "launcher/inside/volumes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "imagetool/image/store/atomic_file.h"
#include "launcher/explain.h"
#include "launcher/inside/copy_tree.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr const char* kOpening = "opening the source of a mount";
constexpr const char* kMounting = "mounting";
constexpr const char* kFilling = "filling a new volume with what the image has there";
constexpr const char* kData = "data";
constexpr const char* kUnfinished = "data.new";

ResultOrFailure<OpenSource> open_bind(const MountEntry& entry) {
  const UniqueFd place(::open(entry.source.c_str(), O_PATH | O_CLOEXEC));
  struct stat about = {};
  if (!place.valid() || ::fstat(place.get(), &about) != 0) {
    return explain(Errno::last(), kOpening, entry.source);
  }
  Result<UniqueFd> mount = copy_mount_of(place.get(), entry.recursive);
  if (!mount.ok()) {
    return explain(
        mount.error(), kOpening, entry.source,
        entry.recursive ? "" : "in a user namespace what is mounted below it comes along: write rbind");
  }
  return OpenSource{std::move(mount).value(), S_ISDIR(about.st_mode)};
}

ResultOrFailure<OpenSource> open_volume(const MountEntry& entry) {
  constexpr const char* kAdvice = "volumes lie in the store; --store names another";
  const Status made = image::make_directories(entry.source, 0700);
  if (!made.ok()) return explain(made.error(), "making a volume", entry.source, kAdvice);
  OpenSource source;
  source.fd.reset(::open(entry.source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!source.fd.valid()) return explain(Errno::last(), kOpening, entry.source, kAdvice);
  return source;
}

ResultOrFailure<OpenSource> open_device(const DevicePlan& device) {
  const UniqueFd node(::open(device.path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat about = {};
  if (!node.valid() || ::fstat(node.get(), &about) != 0) {
    return explain(Errno::last(), kOpening, device.path);
  }
  const bool is_the_type = device.type == 'c' ? S_ISCHR(about.st_mode) : S_ISBLK(about.st_mode);
  if (!is_the_type || about.st_rdev != makedev(device.major_number, device.minor_number)) {
    return refuse(kOpening, device.path, "it is another device than it was a moment ago");
  }
  Result<UniqueFd> mount = copy_mount_of(node.get());
  if (!mount.ok()) return explain(mount.error(), kOpening, device.path);
  return OpenSource{std::move(mount).value(), false};
}

// The path of what `fd` refers to, as seen from the root of the container, which lies over the host's.
Result<std::string> path_of(int fd) {
  std::array<char, PATH_MAX> path{};
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), path.data(), path.size());
  if (size < 0) return Errno::last();
  return std::string(path.data(), static_cast<std::size_t>(size));
}

// Links of an image, or of a volume that others write to, have been followed by now: what counts is where they led.
StatusOrFailure check_place(int fd, const std::string& target) {
  const Result<std::string> path = path_of(fd);
  if (!path.ok()) return explain(path.error(), "looking where a mount would go", target);
  if (*path == "/" || lies_in(*path, "/proc") || lies_in(*path, "/sys")) {
    return refuse(kMounting, target, "in this image it leads to " + *path, "nothing is mounted there");
  }
  return {};
}

ResultOrFailure<UniqueFd> open_target(int root_fd, const std::string& target, bool is_directory) {
  Result<UniqueFd> found =
      is_directory ? make_directory_beneath(root_fd, target) : make_file_beneath(root_fd, target);
  if (!found.ok()) {
    const int why = found.error().value;
    const char* advice = "";
    if (why == ENOENT) advice = "a link of the image leads nowhere";
    if (why == ENOTDIR) advice = "a directory goes on a directory, and this is none in the image";
    if (why == EROFS) advice = "the image must have this path when it is read-only";
    return explain(found.error(), "finding the mount point in the image", target, advice);
  }
  VARVE_RETURN_IF_ERROR(check_place(found->get(), target));
  struct stat about = {};
  if (::fstat(found->get(), &about) != 0) return explain(Errno::last(), kMounting, target);
  if (!is_directory && S_ISDIR(about.st_mode)) {
    return explain(Errno{EISDIR}, kMounting, target,
                   "a file goes on a file, and this is a directory in the image");
  }
  return std::move(found).value();
}

// What the image has at `target`, to be read; invalid when there is no directory.
ResultOrFailure<UniqueFd> open_image_directory(int root_fd, const std::string& target) {
  Result<UniqueFd> found = open_beneath(root_fd, target, O_RDONLY | O_DIRECTORY);
  if (!found.ok() && (found.error().value == ENOENT || found.error().value == ENOTDIR)) return UniqueFd();
  if (!found.ok()) return explain(found.error(), "reading the image's directory", target);
  VARVE_RETURN_IF_ERROR(check_place(found->get(), target));
  return std::move(found).value();
}

bool has_data(int volume_fd) {
  struct stat about = {};
  return ::fstatat(volume_fd, kData, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(about.st_mode);
}

// Makes a volume's data when it has none, under a lock: two containers may meet a new volume at once.
StatusOrFailure fill_volume(int root_fd, const MountEntry& entry, int volume_fd) {
  if (has_data(volume_fd)) return {};
  const UniqueFd lock(::openat(volume_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // until we return
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX) != 0) {
    return explain(Errno::last(), "locking a volume", entry.source);
  }
  if (has_data(volume_fd)) return {};
  const Status cleared = image::remove_tree(entry.source + "/" + kUnfinished);  // of one that was killed here
  if (!cleared.ok()) return explain(cleared.error(), kFilling, entry.source);
  if (::mkdirat(volume_fd, kUnfinished, 0755) != 0) return explain(Errno::last(), kFilling, entry.source);
  if (entry.copies_image) {
    VARVE_ASSIGN(const UniqueFd from, open_image_directory(root_fd, entry.target));
    const UniqueFd to(::openat(volume_fd, kUnfinished, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!to.valid()) return explain(Errno::last(), kFilling, entry.source);
    const Status copied = from.valid() ? copy_tree(from.get(), to.get()) : Status();
    if (!copied.ok()) {
      return explain(copied.error(), kFilling, entry.target, "the option nocopy begins with an empty one");
    }
  }
  if (::renameat(volume_fd, kUnfinished, volume_fd, kData) != 0) {
    return explain(Errno::last(), kFilling, entry.source);
  }
  return {};
}

ResultOrFailure<UniqueFd> mount_of_volume(const MountEntry& entry, int volume_fd) {
  const UniqueFd data(::openat(volume_fd, kData, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!data.valid()) return explain(Errno::last(), kOpening, entry.source);
  Result<UniqueFd> mount = copy_mount_of(data.get(), true);
  if (!mount.ok()) return explain(mount.error(), kOpening, entry.source);
  return std::move(mount).value();
}

bool has_parameter(const MountEntry& entry, const char* key) {
  return std::any_of(entry.parameters.begin(), entry.parameters.end(),
                     [key](const auto& parameter) { return parameter.first == key; });
}

// With mode and owner of the image's directory, unless others were asked for, and its files.
StatusOrFailure fill_tmpfs(int root_fd, const MountEntry& entry, int mount_fd) {
  VARVE_ASSIGN(const UniqueFd from, open_image_directory(root_fd, entry.target));
  const UniqueFd to(::openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!to.valid()) return explain(Errno::last(), kMounting, entry.target);
  struct stat own = {};
  if (!from.valid() || ::fstat(to.get(), &own) != 0) return {};
  const Status copied = copy_tree(from.get(), to.get());
  if (!copied.ok()) {
    return explain(copied.error(), "copying what the image has there into a tmpfs", entry.target,
                   "is its size large enough? the option notmpcopyup begins with an empty one");
  }
  const uid_t uid = has_parameter(entry, "uid") ? own.st_uid : static_cast<uid_t>(-1);
  const gid_t gid = has_parameter(entry, "gid") ? own.st_gid : static_cast<gid_t>(-1);
  if (::fchown(to.get(), uid, gid) != 0 ||
      (has_parameter(entry, "mode") && ::fchmod(to.get(), own.st_mode & 07777) != 0)) {
    return explain(Errno::last(), kMounting, entry.target);
  }
  return {};
}

ResultOrFailure<UniqueFd> make_tmpfs(int root_fd, const MountEntry& entry) {
  NewFileSystem spec{.type = "tmpfs", .parameters = {{"source", "tmpfs"}}};
  for (const auto& [key, value] : entry.parameters) spec.parameters.emplace_back(key.c_str(), value);
  Result<UniqueFd> mount = new_mount(spec);
  if (!mount.ok()) return explain(mount.error(), "making a tmpfs", entry.target);
  if (entry.copies_image) VARVE_RETURN_IF_ERROR(fill_tmpfs(root_fd, entry, mount->get()));
  return std::move(mount).value();
}

StatusOrFailure attach(int root_fd, const std::string& target, int mount_fd, bool is_directory) {
  VARVE_ASSIGN(const UniqueFd place, open_target(root_fd, target, is_directory));
  const Status attached = attach_mount(mount_fd, place.get());
  if (!attached.ok()) return explain(attached.error(), kMounting, target);
  return {};
}

StatusOrFailure mount_entry(int root_fd, const MountEntry& entry, const OpenSource& source) {
  UniqueFd made;
  int mount_fd = source.fd.get();
  if (entry.kind == MountEntry::Kind::kTmpfs) {
    VARVE_ASSIGN(made, make_tmpfs(root_fd, entry));
  } else if (entry.kind == MountEntry::Kind::kVolume) {
    VARVE_ASSIGN(made, mount_of_volume(entry, source.fd.get()));
  }
  if (made.valid()) mount_fd = made.get();
  if (entry.attributes != 0) {
    const Status set = add_mount_attributes(mount_fd, entry.attributes, /*recursive=*/true);
    if (!set.ok()) return explain(set.error(), "setting the options of a mount", entry.target);
  }
  return attach(root_fd, entry.target, mount_fd, source.is_directory);
}

}  // namespace

ResultOrFailure<std::vector<OpenSource>> open_mount_sources(const MountPlan& plan) {
  std::vector<OpenSource> sources;
  for (const MountEntry& entry : plan.mounts) {
    OpenSource source;
    if (entry.kind == MountEntry::Kind::kBind) {
      VARVE_ASSIGN(source, open_bind(entry));
    } else if (entry.kind == MountEntry::Kind::kVolume) {
      VARVE_ASSIGN(source, open_volume(entry));
    }
    sources.push_back(std::move(source));
  }
  for (const DevicePlan& device : plan.devices) {
    VARVE_ASSIGN(OpenSource source, open_device(device));
    sources.push_back(std::move(source));
  }
  return sources;
}

void make_mount_points(int root_fd, const MountPlan& plan, const std::vector<OpenSource>& sources) {
  for (std::size_t index = 0; index < plan.mounts.size(); ++index) {
    const std::string& target = plan.mounts[index].target;
    const bool lies_in_another =
        lies_in(target, "/dev") ||
        std::any_of(plan.mounts.begin(), plan.mounts.end(), [&](const MountEntry& other) {
          return other.target != target && lies_in(target, other.target);
        });
    if (lies_in_another) continue;
    [[maybe_unused]] const Result<UniqueFd> made = sources[index].is_directory
                                                       ? make_directory_beneath(root_fd, target)
                                                       : make_file_beneath(root_fd, target);
  }
}

StatusOrFailure mount_volumes(int root_fd, const MountPlan& plan, const std::vector<OpenSource>& sources) {
  // All are filled before any is mounted: what the image has is what is seen now.
  for (std::size_t index = 0; index < plan.mounts.size(); ++index) {
    if (plan.mounts[index].kind != MountEntry::Kind::kVolume) continue;
    VARVE_RETURN_IF_ERROR(fill_volume(root_fd, plan.mounts[index], sources[index].fd.get()));
  }
  for (std::size_t index = 0; index < plan.mounts.size(); ++index) {
    VARVE_RETURN_IF_ERROR(mount_entry(root_fd, plan.mounts[index], sources[index]));
  }
  for (std::size_t index = 0; index < plan.devices.size(); ++index) {
    const OpenSource& source = sources[plan.mounts.size() + index];
    VARVE_RETURN_IF_ERROR(attach(root_fd, plan.devices[index].container_path, source.fd.get(), false));
  }
  return {};
}

}  // namespace varve::launcher
