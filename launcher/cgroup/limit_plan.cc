#include "launcher/cgroup/limit_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "launcher/cgroup/delegation.h"
#include "launcher/cgroup/group_files.h"
#include "launcher/cgroup/limit_settings.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kDoing = "limiting resources";

class Planner {
 public:
  explicit Planner(const LimitContext& context) : context_(context) {}

  StatusOrFailure add_wanted(WantedLimits wanted);
  void add_statistics();
  void add_killing();
  void add_device_filter();
  LimitPlan take() { return std::move(plan_); }

 private:
  // The container's group in the tree of `controller`, as version 2 calls it, made when it is the first in that tree.
  // `option`: who asks; empty for defaults, for which the launcher leaves no group of its own.
  ResultOrFailure<std::size_t> group_with(const std::string& controller, const std::string& option);
  ResultOrFailure<std::size_t> group_in(const CgroupHierarchy& hierarchy, const std::string& option);
  StatusOrFailure add_setting(const WantedSetting& wanted);
  bool add_version_1(const char* controller);
  const CgroupHierarchy* hierarchy_with(const std::string& controller) const;

  const LimitContext& context_;
  LimitPlan plan_;
  std::vector<const CgroupHierarchy*> hierarchies_;  // of each group of the plan
};

const CgroupHierarchy* Planner::hierarchy_with(const std::string& controller) const {
  for (const CgroupHierarchy& hierarchy : context_.host.hierarchies) {
    if (hierarchy.has(hierarchy.is_v2 ? controller : version_1_name(controller))) return &hierarchy;
  }
  return nullptr;
}

ResultOrFailure<std::size_t> Planner::group_in(const CgroupHierarchy& hierarchy, const std::string& option) {
  const auto known = std::find(hierarchies_.begin(), hierarchies_.end(), &hierarchy);
  if (known != hierarchies_.end()) return static_cast<std::size_t>(known - hierarchies_.begin());
  VARVE_ASSIGN(const GroupBase base, find_group_base(hierarchy, context_.host, context_.is_root, option));
  if (base.is_occupied && option.empty()) {
    return refuse(kDoing, base.directory,
                  "the launcher itself is in this group, and leaves it only for limits");
  }
  GroupPlan group;
  group.is_v2 = hierarchy.is_v2;
  group.base = base.directory;
  group.leave_base = base.is_occupied;
  group.path = fmt::format("{}/varve/{}", base.directory, context_.id);
  group.mounted_as = hierarchy.mount_point.substr(hierarchy.mount_point.rfind('/') + 1);
  hierarchies_.push_back(&hierarchy);
  plan_.groups.push_back(std::move(group));
  return plan_.groups.size() - 1;
}

ResultOrFailure<std::size_t> Planner::group_with(const std::string& controller, const std::string& option) {
  const CgroupHierarchy* hierarchy = hierarchy_with(controller);
  if (hierarchy == nullptr) {
    return refuse(kDoing, option, fmt::format("no {} controller is mounted here", controller),
                  "the kernel has none, or this is a container without its host's /sys/fs/cgroup");
  }
  VARVE_ASSIGN(const std::size_t index, group_in(*hierarchy, option));
  GroupPlan& group = plan_.groups[index];
  const std::string name = hierarchy->is_v2 ? controller : version_1_name(controller);
  if (hierarchy->is_v2) {
    const std::vector<std::string> given = read_words(group.base + "/cgroup.controllers");
    if (std::find(given.begin(), given.end(), name) == given.end()) {
      return refuse(kDoing, option, fmt::format("{} has no {} controller", group.base, name),
                    fmt::format("delegated are: {}; for more see Delegate= of systemd.resource-control(5)",
                                fmt::join(given, " ")));
    }
  }
  if (std::find(group.controllers.begin(), group.controllers.end(), name) == group.controllers.end()) {
    group.controllers.push_back(name);
  }
  return index;
}

StatusOrFailure Planner::add_setting(const WantedSetting& wanted) {
  const std::string& option = wanted.v1.option;
  VARVE_ASSIGN(const std::size_t index, group_with(wanted.controller, option));
  GroupPlan& group = plan_.groups[index];
  const LimitSetting& setting = group.is_v2 ? wanted.v2 : wanted.v1;
  if (!setting.files.empty()) group.settings.push_back(setting);
  return {};
}

StatusOrFailure Planner::add_wanted(WantedLimits wanted) {
  plan_.limits = std::move(wanted.limits);
  std::optional<WantedSetting> by_default;
  for (WantedSetting& setting : wanted.settings) {
    if (wanted.default_pids && std::string_view(setting.controller) == "pids") {
      by_default = std::move(setting);
      continue;
    }
    VARVE_RETURN_IF_ERROR(add_setting(setting));
  }
  if (!by_default) return {};
  const ResultOrFailure<std::size_t> index = group_with("pids", "");
  if (index.ok()) {
    GroupPlan& group = plan_.groups[*index];
    group.settings.push_back(group.is_v2 ? by_default->v2 : by_default->v1);
  } else {
    plan_.limits.erase("pids-limit");
    plan_.notes.push_back("no limit of processes: " + index.error().message);
  }
  return {};
}

// What counts memory, input and output. Only where the container has groups anyway or root may make them: the numbers
// are worth no failure and no note.
void Planner::add_statistics() {
  if (!context_.is_root && plan_.groups.empty()) return;
  for (const char* controller : {"memory", "io"}) {
    [[maybe_unused]] const ResultOrFailure<std::size_t> added = group_with(controller, "");
  }
}

bool Planner::add_version_1(const char* controller) {
  const CgroupHierarchy* hierarchy = context_.host.find(controller);
  if (hierarchy == nullptr || hierarchy->is_v2) return false;
  const ResultOrFailure<std::size_t> added = group_in(*hierarchy, "");
  if (added.ok()) plan_.groups[*added].controllers.emplace_back(controller);
  return added.ok();
}

// A group of version 2 is killed and frozen as one, and its time is counted, all without a controller. Version 1 has the
// freezer and cpuacct.
void Planner::add_killing() {
  if (plan_.groups.empty()) return;
  const CgroupHierarchy* v2 = context_.host.find_v2();
  if (v2 != nullptr && group_in(*v2, "").ok()) return;
  add_version_1("freezer");
  add_version_1("cpuacct");
}

void Planner::add_device_filter() {
  if (!context_.filter_devices) {
    plan_.notes.emplace_back("no device filter: the container shares the host's mounts, its /dev among them");
    return;
  }
  if (!context_.host.may_filter_devices) {
    plan_.notes.emplace_back(
        "no device filter: it takes root; device nodes cannot be made in the container's user namespace");
    return;
  }
  plan_.devices = standard_devices();
  if (context_.root_is_fuse) plan_.devices.push_back(fuse_device());
  if (add_version_1("devices")) {
    plan_.device_filter = LimitPlan::DeviceFilter::kVersion1;
    return;
  }
  const CgroupHierarchy* v2 = context_.host.find_v2();
  if (v2 != nullptr && can_load_device_program() && group_in(*v2, "").ok()) {
    plan_.device_filter = LimitPlan::DeviceFilter::kProgram;
    return;
  }
  plan_.devices.clear();
  plan_.notes.emplace_back(
      "no device filter: there is neither a devices controller nor BPF for one (CONFIG_CGROUP_BPF)");
}

ResultOrFailure<bool> wants_groups(const LimitOptions& options) {
  if (options.cgroups.empty() || options.cgroups == "enabled") return true;
  if (options.cgroups == "disabled") return false;
  return refuse(kDoing, "--cgroups " + options.cgroups, "it is enabled or disabled");
}

ResultOrFailure<LimitPlan> plan_without_groups(const WantedLimits& wanted, const LimitContext& context) {
  for (const WantedSetting& setting : wanted.settings) {
    if (wanted.default_pids && std::string_view(setting.controller) == "pids") continue;
    return refuse(kDoing, setting.v1.option, "nothing is limited with --cgroups disabled");
  }
  if (context.may_make_devices) {
    return refuse(kDoing, "--cgroups disabled", "nothing would keep the container from the host's devices",
                  "give it a user namespace of its own, or leave CAP_MKNOD out");
  }
  LimitPlan plan;
  plan.notes.emplace_back("control groups, as asked: nothing is limited, counted or filtered");
  return plan;
}

}  // namespace

std::vector<std::string> LimitPlan::paths() const {
  std::vector<std::string> paths;
  for (const GroupPlan& group : groups) paths.push_back(group.path);
  return paths;
}

ResultOrFailure<LimitPlan> plan_limits(const LimitOptions& options, const LimitContext& context) {
  VARVE_ASSIGN(const bool has_groups, wants_groups(options));
  VARVE_ASSIGN(WantedLimits wanted, read_limits(options));
  if (!has_groups) return plan_without_groups(wanted, context);
  Planner planner(context);
  VARVE_RETURN_IF_ERROR(planner.add_wanted(std::move(wanted)));
  planner.add_statistics();
  planner.add_device_filter();
  planner.add_killing();
  return planner.take();
}

std::string to_text(const LimitPlan& plan) {
  std::string limits;
  for (const auto& [name, value] : plan.limits) {
    limits += fmt::format("{}{} {}", limits.empty() ? "" : ", ", name, value);
  }
  std::string text = fmt::format("limits:       {}\n", limits.empty() ? "none" : limits);
  for (const GroupPlan& group : plan.groups) {
    text += fmt::format("  group:      {} ({})\n", group.path,
                        group.controllers.empty() ? "to kill and freeze"
                                                  : fmt::format("{}", fmt::join(group.controllers, " ")));
    for (const LimitSetting& setting : group.settings) {
      text += fmt::format("    {} = {}\n", setting.files[0].name, setting.files[0].value);
    }
  }
  if (plan.device_filter != LimitPlan::DeviceFilter::kNone) {
    std::vector<std::string> rules;
    for (const DeviceRule& rule : plan.devices) rules.push_back(to_text(rule));
    text += fmt::format("devices:      {}\n", fmt::join(rules, ", "));
  }
  for (const std::string& note : plan.notes) text += fmt::format("left out:     {}\n", note);
  return text;
}

}  // namespace varve::launcher
