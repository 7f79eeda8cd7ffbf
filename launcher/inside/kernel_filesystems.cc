#include "launcher/inside/kernel_filesystems.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <optional>
#include <string_view>
#include <utility>

#include "launcher/explain.h"
#include "launcher/inside/cgroup_mounts.h"
#include "launcher/inside/kernel_settings.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr std::uint64_t kHarmless = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Returns: the attached mount.
ResultOrFailure<UniqueFd> mount_at(int root_fd, const char* path, Result<UniqueFd> mount) {
  if (!mount.ok()) {
    return explain(mount.error(), "mounting", path,
                   mount.error().value == EPERM
                       ? "the host's own one must be wholly visible here: nothing mounted over parts of it"
                       : "");
  }
  const Result<UniqueFd> target = make_directory_beneath(root_fd, path);
  if (!target.ok()) {
    return explain(
        target.error(), "finding the mount point in the image", path,
        target.error().value == EROFS ? "the image must have this directory when it is read-only" : "");
  }
  const Status attached = attach_mount(mount->get(), target->get());
  if (!attached.ok()) return explain(attached.error(), "mounting", path);
  return std::move(mount).value();
}

// The rest of `path` when it begins with `beginning`.
std::optional<std::string> path_below(std::string_view beginning, const std::string& path) {
  if (path.rfind(beginning, 0) != 0) return std::nullopt;
  return path.substr(beginning.size());
}

// What lies over hidden paths: /dev/null over a file, one empty directory over all directories.
class Masks {
 public:
  // `null_fd` is borrowed.
  explicit Masks(int null_fd) : null_fd_(null_fd) {}

  StatusOrFailure hide(int directory_fd, const std::string& path) {
    const Result<UniqueFd> target = open_beneath(directory_fd, path, O_PATH);
    if (!target.ok() && (target.error().value == ENOENT || target.error().value == EACCES)) return {};
    if (!target.ok()) return explain(target.error(), "masking a path", path);
    struct stat about = {};
    if (::fstat(target->get(), &about) != 0) return explain(Errno::last(), "masking a path", path);
    Result<UniqueFd> mask = S_ISDIR(about.st_mode) ? empty_directory() : copy_mount_of(null_fd_);
    if (!mask.ok()) return explain(mask.error(), "masking a path", path);
    const Status attached = attach_mount(mask->get(), target->get());
    if (!attached.ok()) return explain(attached.error(), "masking a path", path);
    if (S_ISDIR(about.st_mode) && !directory_.valid()) directory_ = std::move(mask).value();
    return {};
  }

 private:
  Result<UniqueFd> empty_directory() const {
    if (directory_.valid()) return copy_mount_of(directory_.get());
    return new_mount({.type = "tmpfs",
                      .parameters = {{"source", "masked"}, {"size", "4k"}},
                      .attributes = kHarmless | MOUNT_ATTR_RDONLY});
  }

  int null_fd_;
  UniqueFd directory_;  // the first that was attached
};

StatusOrFailure hold_read_only(int mount_fd, const std::string& path) {
  const Result<UniqueFd> target = open_beneath(mount_fd, path, O_PATH | O_NOFOLLOW);
  if (!target.ok() && target.error().value == ENOENT) return {};
  if (!target.ok()) return explain(target.error(), "making a path read-only", path);
  const Result<UniqueFd> copy = copy_mount_of(target->get());
  if (!copy.ok()) return explain(copy.error(), "making a path read-only", path);
  Status status = add_mount_attributes(copy->get(), kHarmless | MOUNT_ATTR_RDONLY, false);
  if (status.ok()) status = attach_mount(copy->get(), target->get());
  if (!status.ok()) return explain(status.error(), "making a path read-only", path);
  return {};
}

Result<UniqueFd> make_proc(bool apart) {
  if (!apart) return copy_mount("/proc");
  return new_mount({.type = "proc", .parameters = {{"source", "proc"}}, .attributes = kHarmless});
}

Result<UniqueFd> make_sys(bool apart) {
  // sysfs shows the devices of one network namespace: the kernel lets only the owner of it mount one.
  if (apart) {
    return new_mount(
        {.type = "sysfs", .parameters = {{"source", "sysfs"}}, .attributes = kHarmless | MOUNT_ATTR_RDONLY});
  }
  VARVE_ASSIGN(UniqueFd copy, copy_mount("/sys"));
  VARVE_RETURN_IF_ERROR(add_mount_attributes(copy.get(), MOUNT_ATTR_RDONLY, true));
  return copy;
}

}  // namespace

StatusOrFailure mount_kernel_filesystems(int root_fd, int null_fd, const KernelFilesystems& wanted) {
  const NamespaceSet apart = wanted.apart;
  VARVE_ASSIGN(const UniqueFd proc, mount_at(root_fd, "/proc", make_proc(apart.contains(Namespace::kPid))));
  VARVE_ASSIGN(const UniqueFd sys, mount_at(root_fd, "/sys", make_sys(apart.contains(Namespace::kNet))));
  if (apart.contains(Namespace::kCgroup) && apart.contains(Namespace::kNet)) {
    const bool joined = wanted.joined.contains(Namespace::kCgroup);
    VARVE_RETURN_IF_ERROR(mount_cgroups(sys.get(), wanted.groups, joined));
  }
  if (wanted.forbids_cgroup_namespaces) VARVE_RETURN_IF_ERROR(forbid_cgroup_namespaces(proc.get()));
  VARVE_RETURN_IF_ERROR(write_sysctls(proc.get(), wanted.sysctls));
  for (const std::string& path : wanted.masked.read_only) {
    if (const auto below = path_below("/proc/", path)) {
      VARVE_RETURN_IF_ERROR(hold_read_only(proc.get(), *below));
    }
  }
  Masks masks(null_fd);
  for (const std::string& path : wanted.masked.hidden) {
    if (const auto in_proc = path_below("/proc/", path)) {
      VARVE_RETURN_IF_ERROR(masks.hide(proc.get(), *in_proc));
    } else if (const auto in_sys = path_below("/sys/", path)) {
      VARVE_RETURN_IF_ERROR(masks.hide(sys.get(), *in_sys));
    }
  }
  return {};
}

StatusOrFailure hide_paths_of_image(int root_fd, int null_fd, const MaskedPaths& masked) {
  Masks masks(null_fd);
  for (const std::string& path : masked.hidden) {
    if (path_below("/proc/", path) || path_below("/sys/", path)) continue;
    VARVE_RETURN_IF_ERROR(masks.hide(root_fd, path));
  }
  return {};
}

}  // namespace varve::launcher
