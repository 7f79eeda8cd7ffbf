#include "launcher/cgroup/group_making.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "fs/base/unique_fd.h"
#include "launcher/cgroup/group_files.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kMaking = "making the container's control group";

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

StatusOrFailure make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return explain(
      Errno::last(), kMaking, path,
      errno == EAGAIN ? "the number of groups is limited: see cgroup.max.descendants above it" : "");
}

// "+memory +pids" for what is not enabled yet.
StatusOrFailure enable_controllers(const std::string& directory,
                                   const std::vector<std::string>& controllers) {
  const std::string path = directory + "/cgroup.subtree_control";
  const std::vector<std::string> enabled = read_words(path);
  std::string words;
  for (const std::string& controller : controllers) {
    if (!contains(enabled, controller)) words += fmt::format("{}+{}", words.empty() ? "" : " ", controller);
  }
  if (words.empty()) return {};
  const Status written = write_group_file(path, words);
  if (written.ok()) return {};
  return explain(written.error(), "enabling controllers for the container's group", path + ": " + words,
                 written.error().value == EBUSY
                     ? "processes are in that group itself; move them out, or start varve in "
                       "a scope of its own"
                     : "");
}

// The launcher moves to BASE/varve/launcher, a leaf, as cgroups(7) has it.
StatusOrFailure leave_base(const std::string& parent) {
  const std::string leaf = parent + "/launcher";
  VARVE_RETURN_IF_ERROR(make_directory(leaf));
  const Status moved = write_group_file(leaf + "/cgroup.procs", "0");
  if (!moved.ok()) return explain(moved.error(), "moving the launcher to a group below its own", leaf);
  return {};
}

// A new group of version 1 has no processors and no memory nodes, and takes no process until it has.
StatusOrFailure inherit_cpuset(const std::string& from, const std::string& to, int more_file_flags) {
  for (const char* file : {"/cpuset.cpus", "/cpuset.mems"}) {
    if (!read_words(to + file).empty()) continue;
    const Result<std::string> value = read_group_file(from + file);
    if (!value.ok()) return explain(value.error(), kMaking, from + file);
    const Status written = write_group_file(to + file, *value, more_file_flags);
    if (!written.ok()) return explain(written.error(), kMaking, to + file);
  }
  return {};
}

StatusOrFailure make_parent(const GroupPlan& group, const std::string& parent, int more_file_flags) {
  VARVE_RETURN_IF_ERROR(make_directory(parent));
  if (group.is_v2) {
    if (group.leave_base) VARVE_RETURN_IF_ERROR(leave_base(parent));
    VARVE_RETURN_IF_ERROR(enable_controllers(group.base, group.controllers));
    return enable_controllers(parent, group.controllers);
  }
  if (contains(group.controllers, "cpuset")) return inherit_cpuset(group.base, parent, more_file_flags);
  return {};
}

const char* advice_for(int error_number) {
  switch (error_number) {
    case ENODEV:
      return "no such disk; a limit is for a whole disk, not for a partition";
    case EBUSY:
      return "more than that is in use already";
    case EINVAL:
    case ERANGE:
      return "the kernel does not take this value here";
    case EACCES:
    case EPERM:
      return "the group is not this user's, or a group above allows less";
    default:
      return "";
  }
}

StatusOrFailure apply(const std::string& path, const LimitSetting& setting, int more_file_flags) {
  const std::string doing = fmt::format("applying {}", setting.option);
  for (const LimitSetting::File& file : setting.files) {
    const Status written = write_group_file(path + "/" + file.name, file.value, more_file_flags);
    if (written.ok()) return {};
    if (written.error().value == ENOENT) continue;
    return explain(written.error(), doing, fmt::format("{}/{}: {}", path, file.name, file.value),
                   advice_for(written.error().value));
  }
  if (setting.may_be_absent) return {};
  std::vector<std::string> names;
  for (const LimitSetting::File& file : setting.files) names.push_back(file.name);
  return explain(Errno{ENOENT}, doing, fmt::format("{}/{}", path, fmt::join(names, ", ")),
                 "this kernel has no such limit, or it is off (weights want the bfq scheduler, swap wants "
                 "swapaccount=1)");
}

}  // namespace

StatusOrFailure make_group(const GroupPlan& group, int more_file_flags) {
  const std::string parent = group.base + "/varve";
  // Mostly it is there with all that it needs; version 2 is asked for its controllers, which may have become more.
  const bool is_ready = !group.is_v2 && ::mkdir(group.path.c_str(), 0755) == 0;
  if (!is_ready) {
    VARVE_RETURN_IF_ERROR(make_parent(group, parent, more_file_flags));
    if (::mkdir(group.path.c_str(), 0755) != 0) return explain(Errno::last(), kMaking, group.path);
  }
  if (!group.is_v2 && contains(group.controllers, "cpuset")) {
    VARVE_RETURN_IF_ERROR(inherit_cpuset(group.base, parent, more_file_flags));
    VARVE_RETURN_IF_ERROR(inherit_cpuset(parent, group.path, more_file_flags));
  }
  for (const LimitSetting& setting : group.settings) {
    VARVE_RETURN_IF_ERROR(apply(group.path, setting, more_file_flags));
  }
  return {};
}

StatusOrFailure apply_device_filter(const LimitPlan& plan, const GroupPlan& group, int group_fd,
                                    int more_file_flags) {
  constexpr const char* kApplying = "setting the container's device filter";
  if (plan.device_filter == LimitPlan::DeviceFilter::kProgram && group.is_v2) {
    const Status attached = attach_device_program(group_fd, plan.devices);
    if (!attached.ok()) return explain(attached.error(), kApplying, group.path);
  }
  if (plan.device_filter == LimitPlan::DeviceFilter::kVersion1 && contains(group.controllers, "devices")) {
    Status written = write_group_file(group.path + "/devices.deny", "a", more_file_flags);
    const std::string allow = group.path + "/devices.allow";
    const UniqueFd file(::open(allow.c_str(), O_WRONLY | O_CLOEXEC | more_file_flags, 0644));
    if (written.ok() && !file.valid()) written = Errno::last();
    for (const DeviceRule& rule : plan.devices) {
      if (!written.ok()) break;
      const std::string text = to_text(rule);
      if (::write(file.get(), text.data(), text.size()) < 0) written = Errno::last();
    }
    if (!written.ok()) {
      return explain(written.error(), kApplying, allow, "a group above may allow fewer devices");
    }
  }
  return {};
}

}  // namespace varve::launcher
