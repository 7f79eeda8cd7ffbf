#include "launcher/outside/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"
#include "launcher/kernel/pidfd.h"

namespace varve::launcher {
namespace {

constexpr std::size_t kMaxKeptOutputBytes = 64 * 1024;
// Where the daemon finds its descriptors.
constexpr int kDeviceFd = 3;
constexpr int kLockFd = 4;
constexpr int kAboveThose = 10;

// posix_spawn's file actions and attributes, destroyed with their owner.
struct SpawnSettings {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnSettings() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
};

// Above the numbers that the daemon's own descriptors get, so that none is overwritten on the way.
UniqueFd lifted(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, kAboveThose)); }

// Its own session: a Ctrl-C at the launcher's terminal is the container's affair. All signals at their defaults.
int set_attributes(posix_spawnattr_t& attributes) {
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  const int failed = ::posix_spawnattr_setsigmask(&attributes, &none) | ::posix_spawnattr_setsigdefault(&attributes, &all);
  constexpr int kFlags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID;
  return failed | ::posix_spawnattr_setflags(&attributes, static_cast<short>(kFlags));
}

struct DaemonFds {
  UniqueFd device;
  UniqueFd output;
  UniqueFd lock;  // may be invalid
};

int set_actions(posix_spawn_file_actions_t& actions, const DaemonFds& fds) {
  int failed = ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) |
               ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) |
               ::posix_spawn_file_actions_adddup2(&actions, fds.output.get(), STDERR_FILENO) |
               ::posix_spawn_file_actions_adddup2(&actions, fds.device.get(), kDeviceFd);
  if (fds.lock.valid()) failed |= ::posix_spawn_file_actions_adddup2(&actions, fds.lock.get(), kLockFd);
  return failed;
}

Result<pid_t> spawn(const std::vector<std::string>& words, const DaemonFds& fds) {
  std::vector<std::string> kept = words;
  std::vector<char*> arguments;
  for (std::string& word : kept) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  SpawnSettings settings;
  if (set_attributes(settings.attributes) != 0 || set_actions(settings.actions, fds) != 0) return Errno{ENOMEM};
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, words[0].c_str(), &settings.actions, &settings.attributes, arguments.data(), ::environ);
  if (error != 0) return Errno{error};
  return pid;
}

}  // namespace

std::string escape_mount_path(const std::string& path) {
  std::string escaped;
  for (const char c : path) {
    if (c == ':' || c == ',' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string daemon_options(const RootPlan& root) {
  std::string options = "lowerdir=";
  for (std::size_t index = 0; index < root.lowers.size(); ++index) {
    if (index > 0) options += ':';
    options += escape_mount_path(root.lowers[index]);
  }
  if (root.upper.empty()) return options + ",ro";
  return options + ",upperdir=" + escape_mount_path(root.upper) + ",workdir=" + escape_mount_path(root.work);
}

ResultOrFailure<Daemon> Daemon::start(const std::string& program, const RootPlan& root, UniqueFd device, int lock_fd) {
  constexpr const char* kStarting = "starting the file system daemon";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return explain(Errno::last(), kStarting, program);
  UniqueFd output(ends[0]);
  const UniqueFd daemon_end(ends[1]);
  ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
  const DaemonFds fds{lifted(device.get()), lifted(daemon_end.get()), lock_fd < 0 ? UniqueFd() : lifted(lock_fd)};
  if (!fds.device.valid() || !fds.output.valid()) return explain(Errno::last(), kStarting, program);
  const std::string mount_point = "/dev/fd/" + std::to_string(kDeviceFd);
  const Result<pid_t> pid = spawn({program, "-f", "-o", daemon_options(root), mount_point}, fds);
  if (!pid.ok()) return explain(pid.error(), kStarting, program);
  Result<UniqueFd> process = open_process(*pid);
  if (!process.ok()) return explain(process.error(), kStarting, program);
  return Daemon(*pid, std::move(process).value(), std::move(output));
}

void Daemon::read_output() {
  std::array<char, 4096> bytes{};
  while (output_.valid()) {
    const ssize_t got = ::read(output_.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      output_.reset();
      return;
    }
    // More than that before anybody asks is no message; the pipe must be emptied all the same.
    if (said_.size() < kMaxKeptOutputBytes) said_.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

std::optional<int> Daemon::wait(int timeout_ms) {
  if (exit_status_) return exit_status_;
  struct pollfd ended = {process_.get(), POLLIN, 0};
  if (::poll(&ended, 1, timeout_ms) <= 0) return std::nullopt;
  int wait_status = 0;
  if (::waitpid(pid_, &wait_status, 0) != pid_) return std::nullopt;
  exit_status_ = exit_status_of(wait_status);
  read_output();
  return exit_status_;
}

}  // namespace varve::launcher
