#pragma once

// ContainerCgroup: the control groups of one container, from outside: one in each tree that its plan names. They go with
// remove(), not with the object: a launcher that is killed leaves them to `varve rm`, which finds their paths in the
// container's record. Thread rule: one thread.

#include <linux/sched.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/cgroup/group_statistics.h"
#include "launcher/cgroup/limit_plan.h"

namespace varve::launcher {

class ContainerCgroup {
 public:
  // Makes the groups and writes the limits; a plan without groups makes an object that does nothing. On failure all is
  // removed again. `more_file_flags`: as in write_group_file().
  static ResultOrFailure<ContainerCgroup> create(const LimitPlan& plan, int more_file_flags = 0);
  // The same in two steps, for what is done between them: first the group of version 2 alone, in which a process can be made.
  static ResultOrFailure<ContainerCgroup> begin(const LimitPlan& plan, int more_file_flags = 0);
  // Then those of version 1, which a process enters by itself at any time. On failure remove() is for the caller to call.
  StatusOrFailure complete(const LimitPlan& plan, int more_file_flags = 0);
  // Of a container known only from its record. Paths that do not end in "/varve/ID" are not believed: EINVAL.
  static ResultOrFailure<ContainerCgroup> open(const std::vector<std::string>& paths, const std::string& id);

  // Opens what clone_fd() and enter() use, for a process that joins a container which another launcher made.
  StatusOrFailure open_for_entry();

  bool empty() const { return groups_.empty(); }
  std::vector<std::string> paths() const;

  // For CLONE_INTO_CGROUP of clone3(2): the group of version 2; -1 when there is none.
  // Requires: made by create(), or open_for_entry().
  int clone_fd() const;
  // Makes clone3(2) start the new process in that group, where there is one.
  void apply_to(struct clone_args& arguments) const;
  // Puts the calling process, a new one with one thread, into the groups of version 1. A thread that moves itself need
  // not wait for a grace period of the kernel as one does that is moved by another (kernel/cgroup/cgroup.c,
  // cgroup_procs_write_start): microseconds instead of some ten milliseconds.
  // Requires: made by create(), or open_for_entry().
  StatusOrFailure enter() const;
  // The same by descriptors that were taken from another process's object: of the files by which groups of version 1 are entered.
  struct TaskList {
    std::string group;
    UniqueFd file;
  };
  std::vector<TaskList> take_task_lists();
  static Status enter_by(int task_list_fd);
  // Puts another process into all groups.
  StatusOrFailure add(pid_t pid) const;

  // Kills all processes and waits until none is left: at once by cgroup.kill, else frozen first. Returns: EBUSY when some
  // have not ended after kEndTimeoutMs.
  StatusOrFailure kill_all() const;
  static constexpr int kEndTimeoutMs = 10'000;
  StatusOrFailure freeze() const { return set_frozen(true); }
  StatusOrFailure thaw() const { return set_frozen(false); }
  bool is_frozen() const;

  GroupStatistics statistics() const { return read_group_statistics(paths()); }
  std::uint64_t oom_kills() const { return count_oom_kills(paths()); }

  // Kills what is left, then removes the groups; those that are gone already are no error.
  StatusOrFailure remove() const;

 private:
  struct Group {
    std::string path;
    UniqueFd directory;  // version 2, for entry
    UniqueFd tasks;      // version 1, for entry
  };
  StatusOrFailure make_group_and_open(const LimitPlan& plan, const GroupPlan& group, int more_file_flags);
  StatusOrFailure make_groups(const LimitPlan& plan, bool of_version_2, int more_file_flags);
  StatusOrFailure set_frozen(bool frozen) const;
  std::vector<Group> groups_;
};

// After the container's end: tells of processes that were killed for want of memory, and removes the groups; what cannot
// be removed is logged. Returns: whether any was killed so.
bool end_cgroup(const ContainerCgroup& cgroup, const LimitPlan& plan);

}  // namespace varve::launcher
