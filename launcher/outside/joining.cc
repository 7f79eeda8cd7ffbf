#include "launcher/outside/joining.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "launcher/explain.h"
#include "launcher/inside/entry.h"
#include "launcher/kernel/mount_calls.h"
#include "launcher/kernel/pidfd.h"

namespace varve::launcher {
namespace {

// What a person should think of first when a call fails so.
const char* advice_for(Errno why) {
  if (why.value == EPERM) return "only who started it and root may";
  return why.value == ESRCH || why.value == ENOMEM ? "has the container just ended?" : "";
}

// The new process tells who it is: outside it is known by no other way.
void tell_of_itself(const JoinTarget& target, const ControlChannel& channel) {
  ControlMessage here;
  here.kind = ControlMessage::Kind::kJoined;
  if (target.own.contains(Namespace::kNet)) here.fd.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  // Without a launcher there is nobody to tell; whoever waits for it sees the channel end.
  [[maybe_unused]] const Status told = channel.send(here);
}

// In the mount namespace of the container: what is mounted on its /dev/shm. It is not trusted: only a tmpfs will do.
Result<UniqueFd> copy_shared_memory() {
  struct open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const UniqueFd found(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, "/dev/shm", &how, sizeof how)));
  if (!found.valid()) return Errno::last();
  if (!is_on_file_system(found.get(), TMPFS_MAGIC)) return Errno{EMEDIUMTYPE};
  return copy_mount_of(found.get());
}

// By another process, for a mount namespace that was joined cannot be left again. It shares our table of descriptors.
Result<UniqueFd> fetch_shared_memory(const JoinTarget& target) {
  UniqueFd place(::fcntl(target.process_fd, F_DUPFD_CLOEXEC, 0));
  if (!place.valid()) return Errno::last();
  struct clone_args arguments = {};
  arguments.flags = CLONE_FILES;
  arguments.exit_signal = SIGCHLD;
  const auto fetcher = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (fetcher < 0) return Errno::last();
  if (fetcher == 0) {
    const bool own_user = target.namespaces.contains(Namespace::kUser);
    if (::setns(target.process_fd, CLONE_NEWNS | (own_user ? CLONE_NEWUSER : 0)) != 0) ::_exit(errno);
    const Result<UniqueFd> copy = copy_shared_memory();
    if (!copy.ok()) ::_exit(copy.error().value);
    ::_exit(::dup3(copy->get(), place.get(), O_CLOEXEC) < 0 ? errno : 0);
  }
  int wait_status = 0;
  while (::waitpid(fetcher, &wait_status, 0) < 0) {
    if (errno != EINTR) return Errno::last();
  }
  if (!WIFEXITED(wait_status)) return Errno{EINTR};
  if (WEXITSTATUS(wait_status) != 0) return Errno{WEXITSTATUS(wait_status)};
  return place;
}

[[noreturn]] void join_and_start(const JoinTarget& target, ControlChannel channel, const JoinedWork& work) {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  set_process_title(target.area, "varve-init");
  if (const StatusOrFailure entered = target.cgroup.enter(); !entered.ok())
    report_and_exit(channel, {entered.error()});
  UniqueFd shared_memory;
  if (target.shared_memory) {
    Result<UniqueFd> fetched = fetch_shared_memory(target);
    if (!fetched.ok()) {
      report_and_exit(channel,
                      {explain(fetched.error(), target.doing, "/dev/shm", advice_for(fetched.error()))});
    }
    shared_memory = std::move(fetched).value();
  }
  const auto flags = static_cast<int>(target.namespaces.clone_flags());
  if (flags != 0 && ::setns(target.process_fd, flags) != 0) {
    report_and_exit(channel, {explain(Errno::last(), "joining the container's namespaces",
                                      target.namespaces.text(), advice_for(Errno::last()))});
  }
  struct clone_args arguments = {};
  arguments.flags = CLONE_PARENT | target.own.clone_flags();
  const long started = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (started < 0) {
    report_and_exit(channel, {explain(Errno::last(), target.doing, "clone3", advice_for(Errno::last()))});
  }
  if (started > 0) ::_exit(0);
  tell_of_itself(target, channel);
  work(std::move(channel), std::move(shared_memory));
  ::_exit(0);  // not reached
}

ResultOrFailure<JoinedProcess> hear_of_process(const char* doing, const ControlChannel& channel) {
  Result<ControlMessage> heard = channel.receive();
  if (!heard.ok() || heard->kind == ControlMessage::Kind::kEnd)
    return refuse(doing, "", "the new process was killed at once", advice_for(Errno{ESRCH}));
  if (heard->kind == ControlMessage::Kind::kFailed) return Failure{EIO, std::move(heard->text)};
  JoinedProcess joined;
  joined.process.pid = heard->sender;
  joined.network_namespace = std::move(heard->fd);
  Result<UniqueFd> process = open_process(heard->sender);
  if (!process.ok()) return explain(process.error(), doing, "pidfd_open");
  joined.process.process = std::move(process).value();
  return joined;
}

}  // namespace

ResultOrFailure<JoinedProcess> start_joined(const JoinTarget& target,
                                            std::pair<ControlChannel, ControlChannel>& channel,
                                            const JoinedWork& work) {
  struct clone_args arguments = {};
  arguments.exit_signal = SIGCHLD;
  target.cgroup.apply_to(arguments);
  const auto joiner = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
  if (joiner < 0) return explain(Errno::last(), target.doing, "clone3");
  if (joiner == 0) {
    channel.first.close();
    join_and_start(target, std::move(channel.second), work);
  }
  channel.second.close();
  ResultOrFailure<JoinedProcess> joined = hear_of_process(target.doing, channel.first);
  ::waitpid(joiner, nullptr, 0);
  return joined;
}

}  // namespace varve::launcher
