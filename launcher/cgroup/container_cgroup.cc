#include "launcher/cgroup/container_cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <ctime>
#include <memory>
#include <utility>

#include "fs/base/log.h"
#include "launcher/cgroup/group_files.h"
#include "launcher/cgroup/group_making.h"
#include "launcher/cgroup/limit_values.h"
#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr int kStepMs = 5;

void sleep_a_step() {
  const struct timespec step = {0, kStepMs * 1'000'000L};
  ::nanosleep(&step, nullptr);
}

pid_t pid_of(const std::string& word) {
  pid_t pid = 0;
  std::from_chars(word.data(), word.data() + word.size(), pid);
  return pid;
}

// Not through cgroup.kill: of a frozen group, whose processes cannot make others or end, so that a number means the
// process that it was read for.
void kill_each(const std::string& group) {
  for (const std::string& word : read_words(group + "/cgroup.procs")) {
    const pid_t pid = pid_of(word);
    if (pid > 1) ::kill(pid, SIGKILL);  // 0: a process that our pid namespace does not show
  }
}

std::vector<std::string> groups_below(const std::string& group) {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(group.c_str()));
  std::vector<std::string> found;
  if (!directory) return found;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..")
      found.push_back(group + "/" + std::string(name));
  }
  return found;
}

// With the groups that the container made below its own: one that may mount a tree of control groups can.
bool has_processes(const std::string& group) {
  if (!read_words(group + "/cgroup.procs").empty()) return true;
  const std::vector<std::string> below = groups_below(group);
  return std::any_of(below.begin(), below.end(), has_processes);
}

void kill_below(const std::string& group) {
  kill_each(group);
  for (const std::string& one : groups_below(group)) kill_below(one);
}

bool remove_with_those_below(const std::string& group) {
  if (::rmdir(group.c_str()) == 0 || errno == ENOENT) return true;
  for (const std::string& one : groups_below(group)) remove_with_those_below(one);
  return ::rmdir(group.c_str()) == 0 || errno == ENOENT;
}

ResultOrFailure<UniqueFd> open_group_file(const std::string& path, int flags) {
  UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!file.valid()) return explain(Errno::last(), "opening the container's control group", path);
  return file;
}

}  // namespace

StatusOrFailure ContainerCgroup::make_group_and_open(const LimitPlan& plan, const GroupPlan& group,
                                                     int more_file_flags) {
  VARVE_RETURN_IF_ERROR(make_group(group, more_file_flags));
  Group& open = groups_.back();
  if (group.is_v2) {
    VARVE_ASSIGN(open.directory, open_group_file(group.path, O_RDONLY | O_DIRECTORY));
  } else {
    VARVE_ASSIGN(open.tasks, open_group_file(group.path + "/tasks", O_WRONLY | more_file_flags));
  }
  return apply_device_filter(plan, group, open.directory.get(), more_file_flags);
}

StatusOrFailure ContainerCgroup::make_groups(const LimitPlan& plan, bool of_version_2, int more_file_flags) {
  for (const GroupPlan& group : plan.groups) {
    if (group.is_v2 != of_version_2) continue;
    groups_.push_back({.path = group.path, .directory = {}, .tasks = {}});
    const StatusOrFailure made = make_group_and_open(plan, group, more_file_flags);
    if (made.ok()) continue;
    if (made.error().error_number == EEXIST) groups_.pop_back();  // another container's, which lives on
    return made;
  }
  return {};
}

ResultOrFailure<ContainerCgroup> ContainerCgroup::begin(const LimitPlan& plan, int more_file_flags) {
  ContainerCgroup begun;
  const StatusOrFailure made = begun.make_groups(plan, true, more_file_flags);
  if (made.ok()) return begun;
  if (const StatusOrFailure removed = begun.remove(); !removed.ok()) log_error("{}", removed.error().message);
  return made.error();
}

StatusOrFailure ContainerCgroup::complete(const LimitPlan& plan, int more_file_flags) {
  return make_groups(plan, false, more_file_flags);
}

ResultOrFailure<ContainerCgroup> ContainerCgroup::create(const LimitPlan& plan, int more_file_flags) {
  VARVE_ASSIGN(ContainerCgroup made, begin(plan, more_file_flags));
  const StatusOrFailure completed = made.complete(plan, more_file_flags);
  if (completed.ok()) return made;
  if (const StatusOrFailure removed = made.remove(); !removed.ok()) log_error("{}", removed.error().message);
  return completed.error();
}

ResultOrFailure<ContainerCgroup> ContainerCgroup::open(const std::vector<std::string>& paths,
                                                       const std::string& id) {
  ContainerCgroup known;
  for (const std::string& path : paths) {
    const bool is_believable = path.starts_with('/') && !id.empty() && path.ends_with("/varve/" + id) &&
                               id.find('/') == std::string::npos && path.find("/../") == std::string::npos;
    if (!is_believable) {
      return refuse("finding the container's control groups", path, "it is no group of this container",
                    "its record was changed by hand");
    }
    known.groups_.push_back({.path = path, .directory = {}, .tasks = {}});
  }
  return known;
}

StatusOrFailure ContainerCgroup::open_for_entry() {
  for (Group& group : groups_) {
    if (::access((group.path + "/cgroup.controllers").c_str(), F_OK) == 0) {  // version 2 alone has it
      VARVE_ASSIGN(group.directory, open_group_file(group.path, O_RDONLY | O_DIRECTORY));
    } else {
      VARVE_ASSIGN(group.tasks, open_group_file(group.path + "/tasks", O_WRONLY));
    }
  }
  return {};
}

std::vector<std::string> ContainerCgroup::paths() const {
  std::vector<std::string> paths;
  for (const Group& group : groups_) paths.push_back(group.path);
  return paths;
}

int ContainerCgroup::clone_fd() const {
  for (const Group& group : groups_) {
    if (group.directory.valid()) return group.directory.get();
  }
  return -1;
}

void ContainerCgroup::apply_to(struct clone_args& arguments) const {
  if (clone_fd() < 0) return;
  arguments.flags |= CLONE_INTO_CGROUP;
  arguments.cgroup = static_cast<std::uint64_t>(clone_fd());
}

StatusOrFailure ContainerCgroup::enter() const {
  for (const Group& group : groups_) {
    if (!group.tasks.valid()) continue;
    const Status entered = enter_by(group.tasks.get());
    if (!entered.ok()) return explain(entered.error(), "entering a control group", group.path);
  }
  return {};
}

std::vector<ContainerCgroup::TaskList> ContainerCgroup::take_task_lists() {
  std::vector<TaskList> taken;
  for (Group& group : groups_) {
    if (group.tasks.valid()) taken.push_back({group.path, std::move(group.tasks)});
  }
  return taken;
}

Status ContainerCgroup::enter_by(int task_list_fd) {
  if (::write(task_list_fd, "0", 1) < 0) return Errno::last();
  return {};
}

StatusOrFailure ContainerCgroup::add(pid_t pid) const {
  for (const Group& group : groups_) {
    const Status added = write_group_file(group.path + "/cgroup.procs", std::to_string(pid));
    if (!added.ok()) return explain(added.error(), "putting a process into a control group", group.path);
  }
  return {};
}

StatusOrFailure ContainerCgroup::kill_all() const {
  bool killed_at_once = false;
  for (const Group& group : groups_)
    killed_at_once |= write_group_file(group.path + "/cgroup.kill", "1").ok();
  if (!killed_at_once) {
    // Without a freezer a process that is just being made may slip through; the rounds below find it.
    [[maybe_unused]] const StatusOrFailure frozen = freeze();
    for (const Group& group : groups_) kill_below(group.path);
    [[maybe_unused]] const StatusOrFailure thawed = thaw();
  }
  const auto is_occupied = [](const Group& group) { return has_processes(group.path); };
  for (int waited_ms = 0; std::any_of(groups_.begin(), groups_.end(), is_occupied); waited_ms += kStepMs) {
    if (waited_ms >= kEndTimeoutMs) {
      return explain(Errno{EBUSY}, "killing what runs in the container", groups_.front().path,
                     "its processes wait for a device or a file system that does not answer");
    }
    sleep_a_step();
    if (killed_at_once) continue;
    for (const Group& group : groups_) kill_below(group.path);
  }
  return {};
}

StatusOrFailure ContainerCgroup::set_frozen(bool frozen) const {
  const char* doing = frozen ? "freezing the container" : "thawing the container";
  for (const Group& group : groups_) {
    Status written = write_group_file(group.path + "/cgroup.freeze", frozen ? "1" : "0");
    if (!written.ok() && written.error().value == ENOENT) {
      written = write_group_file(group.path + "/freezer.state", frozen ? "FROZEN" : "THAWED");
    }
    if (written.ok()) return {};
    if (written.error().value != ENOENT) return explain(written.error(), doing, group.path);
  }
  return refuse(doing, "", "it has no control group that can be frozen");
}

bool ContainerCgroup::is_frozen() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const Group& group) {
    const std::vector<std::string> asked = read_words(group.path + "/cgroup.freeze");
    const std::vector<std::string> state = read_words(group.path + "/freezer.state");
    return (!asked.empty() && asked[0] == "1") || (!state.empty() && state[0] == "FROZEN");
  });
}

StatusOrFailure ContainerCgroup::remove() const {
  bool is_killed = false;
  for (const Group& group : groups_) {
    if (::rmdir(group.path.c_str()) == 0 || errno == ENOENT) continue;
    if (!is_killed) VARVE_RETURN_IF_ERROR(kill_all());
    is_killed = true;
    // The kernel lets go of a dead process's group a little later than of its number.
    for (int waited_ms = 0; !remove_with_those_below(group.path); waited_ms += kStepMs) {
      if (waited_ms >= kEndTimeoutMs) return explain(Errno::last(), "removing a control group", group.path);
      sleep_a_step();
    }
  }
  return {};
}

bool end_cgroup(const ContainerCgroup& cgroup, const LimitPlan& plan) {
  if (cgroup.empty()) return false;
  const std::uint64_t killed = cgroup.oom_kills();
  if (killed > 0) {
    const auto limit = plan.limits.find("memory");
    std::string why = "the host's memory was used up";
    if (limit != plan.limits.end()) {
      why = fmt::format(
          "the memory limit of {} was reached",
          size_text(parse_size("memory", limit->second).ok() ? *parse_size("memory", limit->second) : 0));
    }
    log_error("running the container: {}; the kernel killed {} of its processes (--memory gives it more)",
              why, killed);
  }
  const StatusOrFailure removed = cgroup.remove();
  if (!removed.ok()) log_error("{}", removed.error().message);
  return killed > 0;
}

}  // namespace varve::launcher
