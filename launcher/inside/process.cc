#include "launcher/inside/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <vector>

#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"

namespace varve::launcher {
namespace {

StatusOrFailure take_terminal(const CommandContext& context) {
  // The first process of the container leads a session already when it becomes the command itself: EPERM.
  ::setsid();
  if (!context.terminal.valid()) return {};
  const int terminal = context.terminal.get();
  if (::ioctl(terminal, TIOCSCTTY, 0) != 0) {
    return explain(Errno::last(), "taking the container's terminal", "");
  }
  for (int fd = 0; fd <= 2; ++fd) {
    if (::dup2(terminal, fd) < 0) return explain(Errno::last(), "taking the container's terminal", "");
  }
  return {};
}

StatusOrFailure take_ids(const CommandContext& context) {
  const User& user = context.user;
  const char* advice = "an id must be mapped into the container; an ordinary user's has id 0 alone";
  if (context.setgroups_denied) {
    if (!user.groups.empty() && user.uid != 0) {
      return explain(Errno{EPERM}, "setting supplementary groups", context.plan.user, advice);
    }
  } else if (::setgroups(user.groups.size(), user.groups.data()) != 0) {
    return explain(Errno::last(), "setting supplementary groups", context.plan.user, advice);
  }
  if (::setresgid(user.gid, user.gid, user.gid) != 0) {
    return explain(Errno::last(), "setting the group", std::to_string(user.gid), advice);
  }
  if (::setresuid(user.uid, user.uid, user.uid) != 0) {
    return explain(Errno::last(), "setting the user", std::to_string(user.uid), advice);
  }
  return {};
}

// Without no_new_privs the filter goes into force only under CAP_SYS_ADMIN (seccomp(2)), and after that every call needs the
// profile's leave. So it is kept up to the very exec, which takes it away: it is neither in the bounding set nor ambient,
// unless it was asked for.
CapabilitySet needed_for_filter(const ProcessPlan& plan) {
  if (plan.no_new_privileges || plan.seccomp.program.empty()) return {};
  return CapabilitySet(std::uint64_t{1} << CAP_SYS_ADMIN);
}

// A user other than root has only the capabilities that were asked for by name, as podman has it; anything else comes
// from programs with capabilities in their files, within the bounding set.
StatusOrFailure take_credentials(const CommandContext& context) {
  const CapabilitySet kept = context.plan.capabilities;
  const Status limited = limit_bounding_set(kept);
  if (!limited.ok()) return explain(limited.error(), "limiting capabilities", kept.text());
  ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  VARVE_RETURN_IF_ERROR(take_ids(context));
  const CapabilitySet ambient = context.user.uid == 0 ? CapabilitySet() : context.plan.user_capabilities;
  const CapabilitySet effective =
      (context.user.uid == 0 ? kept : ambient).with(needed_for_filter(context.plan));
  const Status set = set_capabilities(effective, ambient);
  if (!set.ok()) {
    return explain(set.error(), "setting capabilities", kept.text(),
                   "the launcher itself must have each that it gives");
  }
  if (context.plan.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return explain(Errno::last(), "giving up new privileges", "");
  }
  return {};
}

StatusOrFailure prepare(const CommandContext& context) {
  VARVE_RETURN_IF_ERROR(take_terminal(context));
  // A session keyring of its own; the launcher's could hold keys of the host. ENOSYS: a kernel without keyrings.
  ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  if (context.terminal.valid()) {
    // So that the user can open its terminal by name. Where the id is not mapped, setting it fails below and says so.
    [[maybe_unused]] const int ignored =
        ::fchown(context.terminal.get(), context.user.uid, static_cast<gid_t>(-1));
  }
  VARVE_RETURN_IF_ERROR(take_credentials(context));
  // Cleared by every change of ids, hence after them.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::umask(022);
  if (::chdir(context.plan.working_directory.c_str()) != 0) {
    return explain(Errno::last(), "entering the working directory", context.plan.working_directory,
                   "it must exist in the image");
  }
  return {};
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

StartFailure cannot_start(Errno why, const std::string& program) {
  const bool not_found = why.value == ENOENT || why.value == ENOTDIR;
  const char* advice = not_found ? "the image has no such program, or not the interpreter or loader it names"
                                 : "it must be an executable file for this machine";
  return {explain(why, "starting the command", program, advice), not_found ? kNotFound : kNotExecutable};
}

}  // namespace

Result<std::string> find_program(const std::string& program, const std::string& path) {
  if (program.empty()) return Errno{ENOENT};
  if (program.find('/') != std::string::npos) return program;
  Errno reason{ENOENT};
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string directory = path.substr(begin, end - begin);
    const std::string candidate = (directory.empty() ? "." : directory) + "/" + program;
    struct stat about = {};
    if (::stat(candidate.c_str(), &about) == 0 && !S_ISDIR(about.st_mode)) {
      if (::faccessat(AT_FDCWD, candidate.c_str(), X_OK, AT_EACCESS) == 0) return candidate;
      reason = Errno{EACCES};
    }
    begin = end + 1;
  }
  return reason;
}

StartFailure become_command(CommandContext context) {
  const StatusOrFailure prepared = prepare(context);
  if (!prepared.ok()) return {prepared.error()};

  Environment environment = context.plan.environment;
  if (!environment.has("HOME")) environment.set("HOME", context.user.home);
  std::vector<std::string> entries = environment.entries();
  std::vector<std::string> arguments = context.plan.arguments;
  const Result<std::string> program = find_program(arguments[0], environment.get("PATH").value_or(""));
  if (!program.ok()) return cannot_start(program.error(), arguments[0]);

  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  restore_default_signals();
  const std::vector<char*> argument_pointers = pointers_to(arguments);
  const std::vector<char*> entry_pointers = pointers_to(entries);
  // Nothing but the exec comes after it: a profile need not allow what we do, and does not see it.
  const Status filtered = install_filter(context.plan.seccomp);
  if (!filtered.ok()) {
    return {explain(filtered.error(), "putting the seccomp filter into force", context.plan.seccomp.profile)};
  }
  ::execve(program->c_str(), argument_pointers.data(), entry_pointers.data());
  return cannot_start(Errno::last(), arguments[0]);
}

}  // namespace varve::launcher
