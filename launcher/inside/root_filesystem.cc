#include "launcher/inside/root_filesystem.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {

StatusOrFailure make_propagation_private() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return explain(Errno::last(), "making mounts private to the container", "/");
  }
  return {};
}

ResultOrFailure<UniqueFd> directory_as_root(const std::string& directory) {
  Result<UniqueFd> copy = copy_mount(directory);
  if (!copy.ok()) {
    return explain(copy.error(), "binding the root directory", directory,
                   copy.error().value == EACCES ? "every directory on the way needs search permission" : "");
  }
  // A device node in a directory of the host is the device itself, and to root in the container it is its own file.
  const Status status = add_mount_attributes(copy->get(), MOUNT_ATTR_NODEV, true);
  if (!status.ok()) return explain(status.error(), "taking devices out of the root directory", directory);
  return std::move(copy).value();
}

ResultOrFailure<FuseRoot> fuse_as_root(bool read_only) {
  FuseRoot root;
  root.device.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!root.device.valid()) {
    const bool is_forbidden = errno == EACCES || errno == EPERM;
    return explain(Errno::last(), "opening the FUSE device", "/dev/fuse",
                   is_forbidden ? "ordinary users need it readable and writable: chmod 0666 /dev/fuse"
                                : "the fuse module must be loaded: modprobe fuse");
  }
  Result<UniqueFd> mount =
      new_mount({.type = "fuse",
                 .parameters = {{"source", "varvefs"},
                                {"subtype", "varvefs"},
                                {"fd", std::to_string(root.device.get())},
                                {"rootmode", "40000"},
                                {"user_id", "0"},
                                {"group_id", "0"},
                                {"default_permissions", ""},
                                {"allow_other", ""}},
                 .attributes = std::uint64_t{MOUNT_ATTR_NODEV} | (read_only ? MOUNT_ATTR_RDONLY : 0)});
  if (!mount.ok()) return explain(mount.error(), "mounting the image", "fuse.varvefs");
  root.mount = std::move(mount).value();
  return root;
}

StatusOrFailure attach_root(const UniqueFd& mount) {
  const UniqueFd host_root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!host_root.valid()) return explain(Errno::last(), "opening the host's root", "/");
  const Status attached = attach_mount(mount.get(), host_root.get());
  if (!attached.ok()) return explain(attached.error(), "putting the container's root in place", "/");
  return {};
}

StatusOrFailure enter_root(const UniqueFd& mount) {
  if (::fchdir(mount.get()) != 0) {
    return explain(Errno::last(), "entering the container's root", "/");
  }
  // Both arguments the same: the old root comes to lie on top of the new one and is what "." means to umount2
  // (pivot_root(2), "pivot_root(".", ".")").
  if (::syscall(SYS_pivot_root, ".", ".") == 0) {
    if (::umount2(".", MNT_DETACH) != 0) return explain(Errno::last(), "letting go of the host's tree", "/");
  } else if (errno == EINVAL) {
    // An initramfs. Our root already lies over its root directory, so that the chroot completes what a move would do.
    if (::chroot(".") != 0) return explain(Errno::last(), "entering the container's root", "/");
  } else {
    return explain(Errno::last(), "entering the container's root", "/");
  }
  if (::chdir("/") != 0) return explain(Errno::last(), "entering the container's root", "/");
  return {};
}

StatusOrFailure change_root(const std::string& directory) {
  if (::chroot(directory.c_str()) != 0 || ::chdir("/") != 0) {
    return explain(Errno::last(), "entering the root directory", directory);
  }
  return {};
}

}  // namespace varve::launcher
