#include "launcher/inside/pid_init.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "launcher/kernel/pidfd.h"

namespace varve::launcher {
namespace {

sigset_t forwarded_signals() {
  sigset_t set;
  ::sigfillset(&set);
  // Sent by the kernel for a fault of the process itself; blocked they would end it all the same, without a trace.
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
    ::sigdelset(&set, fault);
  return set;
}

// Reaps all that have ended. Returns: whether `command` was among them, whose status is then in `exit_status`.
bool reap_all(pid_t command, int& exit_status) {
  bool ended = false;
  for (;;) {
    int wait_status = 0;
    const pid_t pid = ::waitpid(-1, &wait_status, WNOHANG);
    if (pid <= 0) return ended;
    if (pid != command) continue;
    ended = true;
    exit_status = exit_status_of(wait_status);
  }
}

// Processes other than the calling one that live in its mount namespace and can be looked into.
std::vector<UniqueFd> others_of_mount_namespace() {
  std::vector<UniqueFd> others;
  struct stat ours = {};
  if (::stat("/proc/self/ns/mnt", &ours) != 0) return others;
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::filesystem::path& directory = entry->path();
    const pid_t pid = std::atoi(directory.filename().c_str());
    if (pid <= 0 || pid == ::getpid()) continue;
    // Opened first: what is looked at afterwards is this process or gone.
    Result<UniqueFd> process = open_process(pid);
    struct stat theirs = {};
    if (!process.ok() || ::stat((directory / "ns/mnt").c_str(), &theirs) != 0) continue;
    if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
      others.push_back(std::move(process).value());
  }
  return others;
}

}  // namespace

void block_forwarded_signals() {
  const sigset_t set = forwarded_signals();
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
}

void restore_default_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    // SIGKILL, SIGSTOP and those that the C library keeps for itself answer EINVAL.
    struct sigaction action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

int run_init(pid_t command) {
  const sigset_t set = forwarded_signals();
  int exit_status = 0;
  for (;;) {
    siginfo_t info = {};
    const int signal = ::sigwaitinfo(&set, &info);
    if (signal < 0) continue;  // EINTR: stopped and continued
    if (signal == SIGCHLD) {
      // One SIGCHLD may stand for many ends.
      if (reap_all(command, exit_status)) return exit_status;
    } else {
      ::kill(command, signal);
    }
  }
}

void become_subreaper() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

void kill_remaining_children() {
  const std::string path = "/proc/self/task/" + std::to_string(::gettid()) + "/children";
  for (;;) {
    std::ifstream children(path);
    pid_t pid = 0;
    bool any = false;
    while (children >> pid) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      any = true;
    }
    if (!any) return;
  }
}

void kill_rest_of_mount_namespace() {
  // A process may have forked while we looked. One that does not end stands still in the kernel, and is not waited for.
  constexpr int kMaxRounds = 20;
  constexpr int kEndTimeoutMs = 100;
  for (int round = 0; round < kMaxRounds; ++round) {
    const std::vector<UniqueFd> others = others_of_mount_namespace();
    if (others.empty()) return;
    for (const UniqueFd& process : others) {
      [[maybe_unused]] const Status ignored = send_signal(process.get(), SIGKILL);  // ESRCH: it has ended
    }
    for (const UniqueFd& process : others) {
      struct pollfd ended = {process.get(), POLLIN, 0};
      ::poll(&ended, 1, kEndTimeoutMs);
    }
  }
}

int exit_status_of(int wait_status) {
  if (WIFSIGNALED(wait_status)) return 128 + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

}  // namespace varve::launcher
