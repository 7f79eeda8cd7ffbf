#include "launcher/outside/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "launcher/explain.h"
#include "launcher/inside/pid_init.h"
#include "launcher/kernel/pidfd.h"
#include "launcher/kernel/quick_fork.h"

namespace varve::launcher {
namespace {

constexpr std::size_t kMaxKeptOutputBytes = 64 * 1024;
// Where the daemon finds its descriptors.
constexpr int kChannelFd = 3;
constexpr int kLockFd = 4;
constexpr int kAboveThose = 10;

// Above the numbers that the daemon's own descriptors get, so that none is overwritten on the way.
// Invalid for -1.
UniqueFd lifted(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, kAboveThose));
}

struct DaemonFds {
  UniqueFd channel;
  UniqueFd output;
  UniqueFd lock;  // may be invalid
  bool own_user_namespace = false;
};

bool write_own(const char* path, const std::string& text) {
  const UniqueFd file(::open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// user_namespaces(7): one's own id, and a group map only without setgroups(2).
bool enter_own_user_namespace() {
  const std::string uid = "0 " + std::to_string(::geteuid()) + " 1";
  const std::string gid = "0 " + std::to_string(::getegid()) + " 1";
  return ::unshare(CLONE_NEWUSER) == 0 && write_own("/proc/self/setgroups", "deny") &&
         write_own("/proc/self/uid_map", uid) && write_own("/proc/self/gid_map", gid);
}

// In the new process. Its own session: a Ctrl-C at the launcher's terminal is the container's affair.
bool prepare_daemon(const DaemonFds& fds) {
  if (fds.own_user_namespace && !enter_own_user_namespace()) return false;
  ::setsid();
  restore_default_signals();
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return ::dup2(null.get(), STDIN_FILENO) >= 0 && ::dup2(null.get(), STDOUT_FILENO) >= 0 &&
         ::dup2(fds.output.get(), STDERR_FILENO) >= 0 && ::dup2(fds.channel.get(), kChannelFd) >= 0 &&
         (!fds.lock.valid() || ::dup2(fds.lock.get(), kLockFd) >= 0);
}

[[noreturn]] void become_daemon(std::vector<std::string> words, const DaemonFds& fds) {
  constexpr int kCannotStart = 127;
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  if (prepare_daemon(fds)) ::execv(arguments[0], arguments.data());
  const std::string why = std::string("cannot be started: ") + std::strerror(errno) + "\n";
  // The launcher's end is there as long as the launcher is.
  [[maybe_unused]] const ssize_t written = ::write(fds.output.get(), why.data(), why.size());
  ::_exit(kCannotStart);
}

// A user namespace cannot be made by a process that shares its memory (unshare(2)).
template <class Work>
Result<pid_t> fork_for(Work& work) {
  const pid_t pid = ::fork();
  if (pid == 0) work();
  if (pid < 0) return Errno::last();
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
  options += ",upperdir=" + escape_mount_path(root.upper) + ",workdir=" + escape_mount_path(root.work);
  if (root.owners_in_xattrs) options += ",xattr_permissions=2";
  return options + (root.thrown_away ? ",fsync=never" : "");
}

ResultOrFailure<Daemon> Daemon::start(const std::string& program, const RootPlan& root,
                                      const DaemonSurroundings& surroundings) {
  constexpr const char* kStarting = "starting the file system daemon";
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return explain(Errno::last(), kStarting, program);
  UniqueFd output(ends[0]);
  const UniqueFd daemon_end(ends[1]);
  ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
  Result<std::pair<ControlChannel, ControlChannel>> channel = ControlChannel::make_pair();
  if (!channel.ok()) return explain(channel.error(), kStarting, program);
  const DaemonFds fds{lifted(channel->second.fd()), lifted(daemon_end.get()), lifted(surroundings.lock_fd),
                      surroundings.own_user_namespace};
  if (!fds.channel.valid() || !fds.output.valid()) return explain(Errno::last(), kStarting, program);
  const std::string mount_point = "/dev/fd/" + std::to_string(kChannelFd);
  auto work = [&]() { become_daemon({program, "-f", "-o", daemon_options(root), mount_point}, fds); };
  const Result<pid_t> pid = surroundings.own_user_namespace ? fork_for(work) : quick_fork(work);
  if (!pid.ok()) return explain(pid.error(), kStarting, program);
  Result<UniqueFd> process = open_process(*pid);
  if (!process.ok()) return explain(process.error(), kStarting, program);
  return Daemon(*pid, std::move(process).value(), std::move(output), std::move(channel->first));
}

void Daemon::give_device(UniqueFd device) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::kFuseDevice;
  message.fd = std::move(device);
  [[maybe_unused]] const Status sent = channel_.send(message);  // EPIPE: it has ended, and says why itself
  channel_.close();
  has_device_ = true;
}

void Daemon::call_off() {
  channel_.close();
  while (!wait(-1)) {
  }
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
