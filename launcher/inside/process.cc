#include "launcher/inside/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string_view>
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

StatusOrFailure take_limits(const std::vector<ResourceLimit>& limits) {
  for (const ResourceLimit& limit : limits) {
    const auto resource = static_cast<__rlimit_resource_t>(limit.resource);
    if (::setrlimit(resource, &limit.value) != 0) {
      return explain(Errno::last(), "setting a resource limit", "--ulimit " + limit.name,
                     errno == EPERM ? "only CAP_SYS_RESOURCE of the host raises hard limits" : "");
    }
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
  VARVE_RETURN_IF_ERROR(take_limits(context.plan.limits));
  VARVE_RETURN_IF_ERROR(take_credentials(context));
  // Cleared by every change of ids, hence after them.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::umask(context.plan.umask);
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

// Where the interpreter of a script stands in its first line (execve(2), "Interpreter scripts"); empty for others.
std::string interpreter_of(int file) {
  std::array<char, 256> head{};  // BINPRM_BUF_SIZE of linux/binfmts.h: the kernel reads no further either
  const ssize_t size = ::pread(file, head.data(), head.size(), 0);
  std::string_view line(head.data(), size < 0 ? 0 : static_cast<std::size_t>(size));
  if (line.substr(0, 2) != "#!") return {};
  line = line.substr(2, line.find('\n') - 2);
  const std::size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  line.remove_prefix(begin);
  return std::string(line.substr(0, line.find_first_of(std::string_view(" \t\0", 3))));
}

// /proc/self/exe is the launcher until the exec is done: a link to it, or a script that names it as its interpreter, would
// run the launcher with the image's libraries, and let them write to its file on the host (CVE-2019-5736). The kernel
// refuses the writing too, while a launcher of that file runs (ETXTBSY); this is the first line.
StatusOrFailure check_not_launcher(std::string program) {
  constexpr int kMaxInterpreters = 5;  // of one another; the kernel gives up there (fs/exec.c)
  for (int depth = 0; depth < kMaxInterpreters && !program.empty(); ++depth) {
    struct open_how how = {};
    how.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    how.resolve = RESOLVE_NO_MAGICLINKS;
    const UniqueFd file(
        static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, program.c_str(), &how, sizeof how)));
    if (!file.valid() && errno == ELOOP) {
      return explain(Errno{ELOOP}, "starting the command", program, "it leads through a link of /proc");
    }
    // What cannot be found or read is left to execve(2), which says why.
    if (!file.valid() && (errno == EACCES || errno == EPERM || errno == ENOENT || errno == ENOTDIR))
      return {};
    if (!file.valid()) return explain(Errno::last(), "starting the command", program);
    program = interpreter_of(file.get());
  }
  return {};
}

}  // namespace

std::vector<std::string> places_of_program(const std::string& program, const std::string& path) {
  if (program.empty()) return {};
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> places;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    const std::string directory = path.substr(begin, end - begin);
    places.push_back((directory.empty() ? "." : directory) + "/" + program);
    begin = end + 1;
  }
  return places;
}

Result<std::string> find_program(const std::string& program, const std::string& path) {
  if (program.find('/') != std::string::npos) return program;
  Errno reason{ENOENT};
  for (const std::string& place : places_of_program(program, path)) {
    struct stat about = {};
    if (::stat(place.c_str(), &about) == 0 && !S_ISDIR(about.st_mode)) {
      if (::faccessat(AT_FDCWD, place.c_str(), X_OK, AT_EACCESS) == 0) return place;
      reason = Errno{EACCES};
    }
  }
  return reason;
}

StatusOrFailure become_root_inside() {
  if (::geteuid() == 0 && ::getegid() == 0) return {};
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) {
    return explain(Errno::last(), "becoming root of the user namespace", "0");
  }
  // Cleared by every change of ids.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  return {};
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
  const StatusOrFailure checked = check_not_launcher(*program);
  if (!checked.ok()) return {checked.error(), kNotExecutable};

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
