#include "launcher/inside/etc_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"
#include "launcher/network/name_files.h"

namespace varve::launcher {
namespace {

constexpr const char* kBinding = "binding over a file of the image";

std::string path_of(const EtcFile& file) {
  return "/etc/" + file.name;
}

// Where in the image's /etc a file is bound.
struct Target {
  UniqueFd fd;              // invalid: the image has none and needs none
  bool is_missing = false;  // it must have one, and none can be made
};

ResultOrFailure<Target> find_target(int etc_fd, const EtcFile& file) {
  Target target;
  target.fd.reset(::openat(etc_fd, file.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat about = {};
  if (target.fd.valid() && ::fstat(target.fd.get(), &about) == 0) {
    if (S_ISREG(about.st_mode) || S_ISLNK(about.st_mode)) return target;
    if (!file.required) return Target{};
    return refuse(kBinding, path_of(file), "in the image it is neither a file nor a symbolic link",
                  "remove it from the image, or give the container no network");
  }
  if (!file.required) return Target{};
  if (errno != ENOENT) return explain(Errno::last(), kBinding, path_of(file));
  Result<UniqueFd> made = make_file_in(etc_fd, file.name);
  if (made.ok()) return Target{std::move(made).value(), false};
  if (made.error().value == EROFS) return Target{{}, true};
  return explain(made.error(), kBinding, path_of(file));
}

StatusOrFailure write_own(int own_fd, const EtcFile& file) {
  const UniqueFd own(::openat(own_fd, file.name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!own.valid() || ::fchmod(own.get(), 0644) != 0 ||
      ::write(own.get(), file.text.data(), file.text.size()) != static_cast<ssize_t>(file.text.size())) {
    return explain(Errno::last(), kBinding, path_of(file));
  }
  return {};
}

// `own_fd` has the files that the image lacks, among others that are bound later; a read-only union needs no upper.
StatusOrFailure cover_etc(int etc_fd, int own_fd) {
  constexpr const char* kCovering = "giving a read-only image the files of a network";
  const Result<UniqueFd> both = new_mount(
      {.type = "overlay",
       .parameters = {{"source", "etc"},
                      {"lowerdir", fmt::format("/proc/self/fd/{}:/proc/self/fd/{}", own_fd, etc_fd)}},
       .attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV});
  if (!both.ok()) {
    return explain(both.error(), kCovering, "overlay on /etc",
                   "leave --read-only out, or give the image an empty /etc/resolv.conf and /etc/hosts");
  }
  const Status attached = attach_mount(both->get(), etc_fd);
  if (!attached.ok()) return explain(attached.error(), kCovering, "/etc");
  return {};
}

bool any_required(const std::vector<EtcFile>& files) {
  for (const EtcFile& file : files) {
    if (file.required) return true;
  }
  return false;
}

// Our own files, in a file system that is not attached anywhere. The descriptors are borrowed.
class OwnFiles {
 public:
  OwnFiles(int own_fd, int dev_fd) : own_fd_(own_fd), dev_fd_(dev_fd) {}

  StatusOrFailure bind_over(const Target& target, const EtcFile& file) {
    const UniqueFd own(::openat(own_fd_, file.name.c_str(), O_PATH | O_CLOEXEC));
    if (!own.valid()) return explain(Errno::last(), kBinding, path_of(file));
    Result<UniqueFd> mount = copy_mount_of(own.get());
    if (!mount.ok() && mount.error().value == EINVAL) {
      VARVE_RETURN_IF_ERROR(attach_for_a_while());
      mount = copy_mount_of(own.get());
    }
    if (!mount.ok()) return explain(mount.error(), kBinding, path_of(file));
    const Status attached = attach_mount(mount->get(), target.fd.get());
    if (!attached.ok()) return explain(attached.error(), kBinding, path_of(file));
    return {};
  }
  // A union takes all of them: those that the image has not asked for do no harm.
  StatusOrFailure cover(int etc_fd) {
    if (!copy_mount_of(own_fd_).ok()) VARVE_RETURN_IF_ERROR(attach_for_a_while());
    return cover_etc(etc_fd, own_fd_);
  }
  StatusOrFailure detach() const {
    if (!is_attached_) return {};
    if (::fchdir(dev_fd_) != 0 || ::umount2(kPlace, MNT_DETACH) != 0 ||
        ::unlinkat(dev_fd_, kPlace, AT_REMOVEDIR) != 0 || ::chdir("/") != 0) {
      return explain(Errno::last(), kBinding, kPlace);
    }
    return {};
  }

 private:
  // Within the container's /dev. Before Linux 6.15 mounts can be copied only from an attached one.
  StatusOrFailure attach_for_a_while() {
    if (is_attached_) return {};
    const Result<UniqueFd> place = make_directory_beneath(dev_fd_, kPlace);
    const Status attached = place.ok() ? attach_mount(own_fd_, place->get()) : Status(place.error());
    if (!attached.ok()) return explain(attached.error(), kBinding, "tmpfs");
    is_attached_ = true;
    return {};
  }

  static constexpr const char* kPlace = ".etc";
  int own_fd_;
  int dev_fd_;
  bool is_attached_ = false;
};

}  // namespace

std::vector<EtcFile> choose_etc_files(const std::string& hostname, const NetworkPlan& network,
                                      const NetworkConnection& connection) {
  std::vector<EtcFile> files;
  const bool needs_hosts = network.is_connected() || !network.added_hosts.empty();
  if (network.write_hosts && (needs_hosts || !hostname.empty())) {
    files.push_back({"hosts",
                     hosts_text({.hostname = hostname,
                                 .address = connection.address,
                                 .added = network.added_hosts,
                                 .gateway = connection.gateway}),
                     needs_hosts});
  }
  if (!hostname.empty()) files.push_back({"hostname", hostname + "\n", false});
  if (network.resolv_conf) files.push_back({"resolv.conf", *network.resolv_conf, true});
  return files;
}

ResultOrFailure<UniqueFd> bind_etc_files(int root_fd, int dev_fd, const std::vector<EtcFile>& files) {
  if (files.empty()) return UniqueFd();
  const Result<UniqueFd> etc = any_required(files) ? make_directory_beneath(root_fd, "/etc")
                                                   : open_beneath(root_fd, "/etc", O_PATH | O_DIRECTORY);
  if (!etc.ok()) {
    if (!any_required(files)) return UniqueFd();
    return explain(etc.error(), "finding the directory in the image", "/etc", "the network needs it");
  }
  std::vector<Target> targets;
  bool some_found = false;
  bool some_missing = false;
  for (const EtcFile& file : files) {
    VARVE_ASSIGN(Target target, find_target(etc->get(), file));
    some_found = some_found || target.fd.valid();
    some_missing = some_missing || target.is_missing;
    targets.push_back(std::move(target));
  }
  if (!some_found && !some_missing) return UniqueFd();

  Result<UniqueFd> mount =
      new_mount({.type = "tmpfs",
                 .parameters = {{"source", "etc"}, {"mode", "0755"}, {"size", "1m"}},
                 .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC});
  if (!mount.ok()) return explain(mount.error(), kBinding, "tmpfs");
  for (const EtcFile& file : files) VARVE_RETURN_IF_ERROR(write_own(mount->get(), file));
  OwnFiles own(mount->get(), dev_fd);
  for (std::size_t i = 0; i < files.size(); ++i) {
    // Bound twice when /etc is covered afterwards, which nobody sees.
    if (targets[i].fd.valid()) VARVE_RETURN_IF_ERROR(own.bind_over(targets[i], files[i]));
  }
  if (some_missing) VARVE_RETURN_IF_ERROR(own.cover(etc->get()));
  VARVE_RETURN_IF_ERROR(own.detach());
  return std::move(mount).value();
}

}  // namespace varve::launcher
