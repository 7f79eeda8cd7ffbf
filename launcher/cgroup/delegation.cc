#include "launcher/cgroup/delegation.h"

#include <fmt/format.h>
#include <unistd.h>

#include "launcher/cgroup/group_files.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kDoing = "limiting resources";
constexpr const char* kOwnScope =
    "start it in a scope of its own: systemd-run --user --scope -p Delegate=yes varve run ...";

bool may_use_v2(const CgroupHost& host, const std::string& group) {
  return host.may_write(group) && host.may_write(group + "/cgroup.procs") &&
         host.may_write(group + "/cgroup.subtree_control");
}

// The root of the whole tree, which alone may hold processes beside groups with controllers, has no type.
bool is_root_of_tree(const std::string& group) {
  return ::access((group + "/cgroup.type").c_str(), F_OK) != 0;
}

bool may_have_children(const std::string& group) {
  return is_root_of_tree(group) || !read_words(group + "/cgroup.subtree_control").empty() ||
         read_words(group + "/cgroup.procs").empty();
}

// Requires: `group` is `top` or lies below it.
std::string parent_of(const std::string& group, const std::string& top) {
  return group.size() <= top.size() ? "" : group.substr(0, group.rfind('/'));
}

ResultOrFailure<GroupBase> find_v2_base(const CgroupHierarchy& hierarchy, const CgroupHost& host,
                                        bool is_root, const std::string& option) {
  const std::string lowest = is_root ? hierarchy.mount_point : hierarchy.own_group;
  GroupBase base;
  bool is_ours = false;
  for (std::string group = lowest; !group.empty() && may_use_v2(host, group);
       group = parent_of(group, hierarchy.mount_point)) {
    is_ours = true;
    if (may_have_children(group)) base.directory = group;
  }
  if (!base.directory.empty()) return base;
  if (!is_ours) {
    return refuse(kDoing, option,
                  fmt::format("the control group {} is not this user's",
                              lowest.empty() ? hierarchy.mount_point : lowest),
                  is_root ? "is /sys/fs/cgroup mounted writable?" : kOwnScope);
  }
  if (read_words(lowest + "/cgroup.procs") == std::vector<std::string>{std::to_string(::getpid())}) {
    return GroupBase{lowest, true};
  }
  return refuse(
      kDoing, option,
      fmt::format("other processes are in {}, so that it can have no groups with limits below", lowest),
      kOwnScope);
}

}  // namespace

ResultOrFailure<GroupBase> find_group_base(const CgroupHierarchy& hierarchy, const CgroupHost& host,
                                           bool is_root, const std::string& option) {
  if (hierarchy.read_only) {
    return refuse(kDoing, option, fmt::format("{} is mounted read-only", hierarchy.mount_point),
                  "mount it writable, or set the limits outside");
  }
  if (hierarchy.is_v2) return find_v2_base(hierarchy, host, is_root, option);
  const std::string base = is_root ? hierarchy.mount_point : hierarchy.own_group;
  if (base.empty() || !host.may_write(base)) {
    return refuse(kDoing, option,
                  fmt::format("the controller is in a tree of version 1, {}, which only root may use",
                              hierarchy.mount_point),
                  "run it as root, or boot with version 2: systemd.unified_cgroup_hierarchy=1");
  }
  return GroupBase{base, false};
}

}  // namespace varve::launcher
