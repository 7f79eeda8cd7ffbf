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

StatusOrFailure bind_over(const Target& target, int own_fd, const EtcFile& file) {
  const UniqueFd own(::openat(own_fd, file.name.c_str(), O_PATH | O_CLOEXEC));
  if (!own.valid()) return explain(Errno::last(), kBinding, path_of(file));
  const Result<UniqueFd> mount = copy_mount_of(own.get());
  if (!mount.ok()) return explain(mount.error(), kBinding, path_of(file));
  const Status attached = attach_mount(mount->get(), target.fd.get());
  if (!attached.ok()) return explain(attached.error(), kBinding, path_of(file));
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

StatusOrFailure bind_all(int etc_fd, int own_fd, const std::vector<EtcFile>& files) {
  bool some_missing = false;
  for (const EtcFile& file : files) {
    VARVE_ASSIGN(const Target target, find_target(etc_fd, file));
    some_missing = some_missing || target.is_missing;
    // Bound twice when /etc is covered afterwards, which nobody sees.
    if (target.fd.valid()) VARVE_RETURN_IF_ERROR(bind_over(target, own_fd, file));
  }
  // The union takes all of ours: those that the image has not asked for among them do no harm.
  return some_missing ? cover_etc(etc_fd, own_fd) : StatusOrFailure();
}

bool any_required(const std::vector<EtcFile>& files) {
  for (const EtcFile& file : files) {
    if (file.required) return true;
  }
  return false;
}

// Attaches `mount_fd` within the container's /dev. Both descriptors are borrowed.
class AttachedForAWhile {
 public:
  AttachedForAWhile(int dev_fd, int mount_fd) : dev_fd_(dev_fd) {
    const Result<UniqueFd> place = make_directory_beneath(dev_fd, kPlace);
    const Status attached = place.ok() ? attach_mount(mount_fd, place->get()) : Status(place.error());
    if (!attached.ok()) status_ = explain(attached.error(), kBinding, "tmpfs");
  }
  const StatusOrFailure& status() const { return status_; }
  StatusOrFailure detach() const {
    if (::fchdir(dev_fd_) != 0 || ::umount2(kPlace, MNT_DETACH) != 0 ||
        ::unlinkat(dev_fd_, kPlace, AT_REMOVEDIR) != 0 || ::chdir("/") != 0) {
      return explain(Errno::last(), kBinding, kPlace);
    }
    return {};
  }

 private:
  static constexpr const char* kPlace = ".etc";
  int dev_fd_;
  StatusOrFailure status_;
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

StatusOrFailure bind_etc_files(int root_fd, int dev_fd, const std::vector<EtcFile>& files) {
  if (files.empty()) return {};
  const Result<UniqueFd> etc = any_required(files) ? make_directory_beneath(root_fd, "/etc")
                                                   : open_beneath(root_fd, "/etc", O_PATH | O_DIRECTORY);
  if (!etc.ok()) {
    if (!any_required(files)) return {};
    return explain(etc.error(), "finding the directory in the image", "/etc", "the network needs it");
  }
  const Result<UniqueFd> own =
      new_mount({.type = "tmpfs",
                 .parameters = {{"source", "etc"}, {"mode", "0755"}, {"size", "1m"}},
                 .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC});
  if (!own.ok()) return explain(own.error(), kBinding, "tmpfs");
  for (const EtcFile& file : files) VARVE_RETURN_IF_ERROR(write_own(own->get(), file));
  // Before Linux 6.15 mounts can be copied only from an attached one.
  if (copy_mount_of(own->get()).ok()) return bind_all(etc->get(), own->get(), files);
  const AttachedForAWhile attached(dev_fd, own->get());
  VARVE_RETURN_IF_ERROR(attached.status());
  VARVE_RETURN_IF_ERROR(bind_all(etc->get(), own->get(), files));
  return attached.detach();
}

}  // namespace varve::launcher
