#include "launcher/inside/dev_nodes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>

#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr const char* kMaking = "making the container's /dev";

struct Device {
  const char* name;
  unsigned major_number;
  unsigned minor_number;
};
// Documentation/admin-guide/devices.txt of the kernel.
constexpr std::array<Device, 6> kDevices = {
    {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}};

constexpr std::array<std::pair<const char*, const char*>, 5> kLinks = {{{"fd", "/proc/self/fd"},
                                                                        {"stdin", "/proc/self/fd/0"},
                                                                        {"stdout", "/proc/self/fd/1"},
                                                                        {"stderr", "/proc/self/fd/2"},
                                                                        {"ptmx", "pts/ptmx"}}};

// A directory in /dev and the file system that belongs on it.
ResultOrFailure<UniqueFd> mount_in_dev(int dev_fd, const std::string& name, Result<UniqueFd> mount) {
  if (!mount.ok()) return explain(mount.error(), kMaking, name);
  const Result<UniqueFd> target = make_directory_beneath(dev_fd, name);
  if (!target.ok()) return explain(target.error(), kMaking, name);
  const Status attached = attach_mount(mount->get(), target->get());
  if (!attached.ok()) return explain(attached.error(), kMaking, name);
  return std::move(mount).value();
}

StatusOrFailure bind_node(int dev_fd, const HostNode& node) {
  const Result<UniqueFd> target = make_file_in(dev_fd, node.name);
  if (!target.ok()) return explain(target.error(), kMaking, node.name);
  const Status attached = attach_mount(node.mount.get(), target->get());
  if (!attached.ok()) return explain(attached.error(), kMaking, node.name);
  return {};
}

constexpr std::uint64_t kPlain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// The host's own one aside.
Result<UniqueFd> make_shared_memory(const DevOptions& options) {
  if (options.joined_shm_fd >= 0) {
    VARVE_RETURN_IF_ERROR(add_mount_attributes(options.joined_shm_fd, kPlain, false));
    return UniqueFd(::fcntl(options.joined_shm_fd, F_DUPFD_CLOEXEC, 0));
  }
  return new_mount(
      {.type = "tmpfs",
       .parameters = {{"source", "shm"}, {"mode", "1777"}, {"size", std::to_string(options.shm_bytes)}},
       .attributes = kPlain});
}

StatusOrFailure mount_ipc(int dev_fd, const DevOptions& options) {
  if (!options.own_ipc) {
    VARVE_RETURN_IF_ERROR(mount_in_dev(dev_fd, "shm", copy_mount("/dev/shm")));
    Result<UniqueFd> host_queues = copy_mount("/dev/mqueue");
    if (!host_queues.ok()) return {};  // the host has none mounted
    VARVE_RETURN_IF_ERROR(mount_in_dev(dev_fd, "mqueue", std::move(host_queues)));
    return {};
  }
  VARVE_RETURN_IF_ERROR(mount_in_dev(dev_fd, "shm", make_shared_memory(options)));
  Result<UniqueFd> queues =
      new_mount({.type = "mqueue", .parameters = {{"source", "mqueue"}}, .attributes = kPlain});
  if (!queues.ok() && queues.error().value == ENODEV) return {};  // a kernel without CONFIG_POSIX_MQUEUE
  VARVE_RETURN_IF_ERROR(mount_in_dev(dev_fd, "mqueue", std::move(queues)));
  return {};
}

Result<UniqueFd> new_terminals(bool map_tty_group) {
  constexpr std::uint64_t kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
  if (!map_tty_group) {
    return new_mount({.type = "devpts",
                      .parameters = {{"source", "devpts"}, {"ptmxmode", "0666"}, {"mode", "0620"}},
                      .attributes = kAttributes});
  }
  return new_mount(
      {.type = "devpts",
       .parameters = {{"source", "devpts"}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}},
       .attributes = kAttributes});
}

}  // namespace

ResultOrFailure<std::vector<HostNode>> copy_host_nodes() {
  std::vector<HostNode> nodes;
  for (const Device& device : kDevices) {
    const std::string path = std::string("/dev/") + device.name;
    const UniqueFd node(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat about = {};
    if (!node.valid() || ::fstat(node.get(), &about) != 0) {
      return explain(Errno::last(), "taking a device node of the host", path, "a container needs it");
    }
    if (!S_ISCHR(about.st_mode) || about.st_rdev != makedev(device.major_number, device.minor_number)) {
      return refuse("taking a device node of the host", path, "it is another device than its name says",
                    "repair the host's /dev");
    }
    Result<UniqueFd> mount = copy_mount_of(node.get());
    if (!mount.ok()) return explain(mount.error(), "taking a device node of the host", path);
    nodes.push_back({device.name, std::move(mount).value()});
  }
  return nodes;
}

ResultOrFailure<DevDirectory> make_dev(int root_fd, std::vector<HostNode> nodes, const DevOptions& options) {
  DevDirectory dev;
  const Result<UniqueFd> target = make_directory_beneath(root_fd, "/dev");
  if (!target.ok()) return explain(target.error(), "finding the mount point in the image", "/dev");
  Result<UniqueFd> mount = new_mount({.type = "tmpfs",
                                      .parameters = {{"source", "dev"}, {"mode", "0755"}, {"size", "65536k"}},
                                      .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC});
  if (!mount.ok()) return explain(mount.error(), kMaking, "tmpfs");
  const Status attached = attach_mount(mount->get(), target->get());
  if (!attached.ok()) return explain(attached.error(), kMaking, "/dev");
  dev.directory = std::move(mount).value();

  const int dev_fd = dev.directory.get();
  for (HostNode& node : nodes) {
    VARVE_RETURN_IF_ERROR(bind_node(dev_fd, node));
    if (node.name == "null") dev.null = std::move(node.mount);
  }
  for (const auto& [name, destination] : kLinks) {
    if (::symlinkat(destination, dev_fd, name) != 0) return explain(Errno::last(), kMaking, name);
  }
  VARVE_ASSIGN(dev.terminals, mount_in_dev(dev_fd, "pts", new_terminals(options.map_tty_group)));
  VARVE_RETURN_IF_ERROR(mount_ipc(dev_fd, options));
  return dev;
}

}  // namespace varve::launcher
