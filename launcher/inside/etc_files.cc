#include "launcher/inside/etc_files.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "fs/base/unique_fd.h"
#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr const char* kBinding = "binding over a file of the image";

struct EtcFile {
  std::string path;  // in the image
  std::string text;
};

std::vector<EtcFile> choose_files(const EtcOptions& options) {
  std::vector<EtcFile> files;
  if (!options.hostname.empty()) {
    files.push_back({"/etc/hosts", hosts_text(options.hostname)});
    files.push_back({"/etc/hostname", options.hostname + "\n"});
  }
  if (options.host_network) {
    std::ifstream host("/etc/resolv.conf");
    std::stringstream text;
    if (host && text << host.rdbuf()) files.push_back({"/etc/resolv.conf", text.str()});
  }
  return files;
}

// Binds a file of `own_fd`, a file system of ours, over `file.path`, if the image has a regular file there.
StatusOrFailure bind_over(int root_fd, int own_fd, const EtcFile& file) {
  const Result<UniqueFd> target = open_beneath(root_fd, file.path, O_PATH);
  struct stat about = {};
  if (!target.ok() || ::fstat(target->get(), &about) != 0 || !S_ISREG(about.st_mode)) return {};
  const std::string name = file.path.substr(file.path.rfind('/') + 1);
  const UniqueFd own(::openat(own_fd, name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
  if (!own.valid() ||
      ::write(own.get(), file.text.data(), file.text.size()) != static_cast<ssize_t>(file.text.size())) {
    return explain(Errno::last(), kBinding, file.path);
  }
  const Result<UniqueFd> mount = copy_mount_of(own.get());
  if (!mount.ok()) return explain(mount.error(), kBinding, file.path);
  const Status attached = attach_mount(mount->get(), target->get());
  if (!attached.ok()) return explain(attached.error(), kBinding, file.path);
  return {};
}

}  // namespace

std::string hosts_text(const std::string& hostname) {
  return "127.0.0.1\tlocalhost " + hostname + "\n::1\tlocalhost ip6-localhost ip6-loopback " + hostname +
         "\n";
}

StatusOrFailure bind_etc_files(int root_fd, int dev_fd, const EtcOptions& options) {
  constexpr const char* kScratch = ".etc";
  const std::vector<EtcFile> files = choose_files(options);
  if (files.empty()) return {};
  const Result<UniqueFd> own =
      new_mount({.type = "tmpfs",
                 .parameters = {{"source", "etc"}, {"mode", "0755"}, {"size", "1m"}},
                 .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC});
  if (!own.ok()) return explain(own.error(), kBinding, "tmpfs");
  // Mounts can be copied only from an attached one, so it is attached for as long as that takes.
  const Result<UniqueFd> place = make_directory_beneath(dev_fd, kScratch);
  if (!place.ok()) return explain(place.error(), kBinding, "tmpfs");
  const Status attached = attach_mount(own->get(), place->get());
  if (!attached.ok()) return explain(attached.error(), kBinding, "tmpfs");
  for (const EtcFile& file : files) VARVE_RETURN_IF_ERROR(bind_over(root_fd, own->get(), file));
  if (::fchdir(dev_fd) != 0 || ::umount2(kScratch, MNT_DETACH) != 0 ||
      ::unlinkat(dev_fd, kScratch, AT_REMOVEDIR) != 0 || ::chdir("/") != 0) {
    return explain(Errno::last(), kBinding, kScratch);
  }
  return {};
}

}  // namespace varve::launcher
