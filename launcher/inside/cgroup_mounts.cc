#include "launcher/inside/cgroup_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>

#include <string>
#include <utility>

#include "launcher/explain.h"
#include "launcher/kernel/mount_calls.h"

namespace varve::launcher {
namespace {

constexpr std::uint64_t kHarmless = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr const char* kMounting = "mounting the container's control groups";

ResultOrFailure<UniqueFd> mount_beneath(int directory_fd, const std::string& path, Result<UniqueFd> mount) {
  if (!mount.ok()) return explain(mount.error(), kMounting, path);
  const Result<UniqueFd> target = make_directory_beneath(directory_fd, path);
  if (!target.ok()) return explain(target.error(), kMounting, path);
  const Status attached = attach_mount(mount->get(), target->get());
  if (!attached.ok()) return explain(attached.error(), kMounting, path);
  return std::move(mount).value();
}

Result<UniqueFd> bind_group(const GroupPlan& group) {
  VARVE_ASSIGN(UniqueFd mount, copy_mount(group.path));
  VARVE_RETURN_IF_ERROR(add_mount_attributes(mount.get(), kHarmless | MOUNT_ATTR_RDONLY, true));
  return mount;
}

StatusOrFailure mount_several(int sys_fd, const std::vector<GroupPlan>& groups) {
  VARVE_ASSIGN(
      const UniqueFd directory,
      mount_beneath(sys_fd, "fs/cgroup",
                    new_mount({.type = "tmpfs",
                               .parameters = {{"source", "cgroup"}, {"mode", "0755"}, {"size", "64k"}},
                               .attributes = kHarmless})));
  for (const GroupPlan& group : groups) {
    VARVE_RETURN_IF_ERROR(mount_beneath(directory.get(), group.mounted_as, bind_group(group)));
  }
  const Status status = add_mount_attributes(directory.get(), MOUNT_ATTR_RDONLY, false);
  if (!status.ok()) return explain(status.error(), kMounting, "/sys/fs/cgroup");
  return {};
}

}  // namespace

StatusOrFailure make_cgroup_namespace() {
  if (::unshare(CLONE_NEWCGROUP) != 0)
    return explain(Errno::last(), "making the container's cgroup namespace", "");
  return {};
}

StatusOrFailure mount_cgroups(int sys_fd, const std::vector<GroupPlan>& groups, bool joined) {
  if (joined && groups.empty()) return {};
  const UniqueFd host(::open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const bool only_version_2 = host.valid() && is_on_file_system(host.get(), CGROUP2_SUPER_MAGIC);
  if (!only_version_2) return groups.empty() ? StatusOrFailure() : mount_several(sys_fd, groups);
  VARVE_RETURN_IF_ERROR(mount_beneath(sys_fd, "fs/cgroup",
                                      !groups.empty()
                                          ? bind_group(groups.front())
                                          : new_mount({.type = "cgroup2",
                                                       .parameters = {{"source", "cgroup"}},
                                                       .attributes = kHarmless | MOUNT_ATTR_RDONLY})));
  return {};
}

}  // namespace varve::launcher
