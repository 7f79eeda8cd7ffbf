#include "imagetool/standstill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "imagetool/neighbour.h"
#include "imagetool/proc_text.h"

namespace varve::imagetool {
namespace {

bool is_paused(const image::ContainerState& container) {
  for (const std::string& group : container.cgroups) {
    std::string word;
    std::ifstream(group + "/cgroup.freeze") >> word;
    if (word == "1") return true;
    std::ifstream(group + "/freezer.state") >> word;
    if (word == "FROZEN") return true;
  }
  return false;
}

// What processes have written through mappings lies in the kernel until it is asked for.
void write_out(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // What cannot be looked at is somebody else's.
  if (fd.valid()) [[maybe_unused]]
    const int ignored = ::syncfs(fd.get());
}

// Those of others are not asked: they may never answer.
void write_out_own_mounts() {
  const std::string own = fmt::format("user_id={},", ::geteuid());
  const auto mounts = list_varvefs_mounts();
  if (!mounts.ok()) return;
  for (const VarvefsMount& mount : *mounts) {
    if (mount.options.find(own) != std::string::npos) write_out(mount.mount_point);
  }
}

int send_signal(int process_fd, int signal) {
  return static_cast<int>(::syscall(SYS_pidfd_send_signal, process_fd, signal, nullptr, 0));
}

struct Thread {
  char state = '?';  // of proc_pid_stat(5)
  std::string text;  // "708 (varvefs) D"
  bool has_ended() const { return state == 'Z' || state == 'X'; }
  bool has_stopped() const { return state == 'T' || state == 't'; }
};

// One that ends meanwhile may be missing.
std::vector<Thread> threads_of(pid_t pid) {
  std::vector<Thread> threads;
  std::error_code error;
  std::filesystem::directory_iterator entry(fmt::format("/proc/{}/task", pid), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::string line;
    std::getline(std::ifstream(entry->path() / "stat"), line);
    // The letter follows the name in parentheses, which may hold any.
    const std::size_t name_end = line.rfind(')');
    if (name_end == std::string::npos || name_end + 2 >= line.size()) continue;
    threads.push_back({.state = line[name_end + 2], .text = line.substr(0, name_end + 3)});
  }
  return threads;
}

}  // namespace

std::optional<pid_t> locker_of(const std::string& directory) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0) return std::nullopt;
  // "1: FLOCK  ADVISORY  WRITE 708 fe:00:13 0 EOF" (proc_locks(5)).
  const std::string place =
      fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::array<std::string, 6> word;
    for (std::string& one : word) words >> one;
    if (word[1] == "FLOCK" && word[5] == place) {
      const long pid = std::strtol(word[4].c_str(), nullptr, 10);
      if (pid > 0) return static_cast<pid_t>(pid);
    }
  }
  return std::nullopt;
}

StatusOrFailure Standstill::wait_for_others() {
  const std::string process = fmt::format("/proc/{}", daemon_pid_);
  turn_.reset(::open(process.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!turn_.valid()) return failure_from(Errno::last(), process);
  while (::flock(turn_.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return failure_from(Errno::last(), process + ": locking it");
  }
  return {};
}

StatusOrFailure Standstill::pause(const std::string& store_directory,
                                  const image::ContainerState& container) {
  if (container.cgroups.empty() || is_paused(container)) return {};
  VARVE_ASSIGN(const std::string launcher, find_neighbour("varve"));
  VARVE_ASSIGN(const int status,
               run_neighbour({launcher, "pause", "--store", store_directory, container.name}));
  if (status != 0) return Failure{EBUSY, container.name + ": cannot be paused (stop it first)"};
  launcher_ = launcher;
  store_ = store_directory;
  container_ = container.name;
  return {};
}

// The guard waits for the end of the line. It has nothing of ours but what it needs.
StatusOrFailure Standstill::start_guard() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return failure_from(Errno::last(), "guarding what stands still");
  const UniqueFd theirs(ends[0]);
  guard_line_.reset(ends[1]);
  std::array<const char*, 6> words = {launcher_.c_str(), "unpause",          "--store",
                                      store_.c_str(),    container_.c_str(), nullptr};
  guard_ = ::fork();
  if (guard_ < 0) return failure_from(Errno::last(), "guarding what stands still");
  if (guard_ > 0) return {};
  ::setsid();  // Ctrl-C is for the one that it guards
  ::close(ends[1]);
  char word = 0;
  if (::read(theirs.get(), &word, 1) == 1) ::_exit(0);  // all goes on already
  send_signal(daemon_.get(), SIGCONT);
  if (!launcher_.empty()) ::execv(words[0], const_cast<char* const*>(words.data()));
  ::_exit(0);
}

StatusOrFailure Standstill::stop_daemon() {
  if (send_signal(daemon_.get(), SIGSTOP) != 0) {
    return failure_from(Errno::last(), fmt::format("stopping the file system daemon {}", daemon_pid_));
  }
  // Each of its threads comes to a stop by itself: one that the kernel is at work for, at a write or an fsync, when that is done. A
  // disk that is busy with others may take its time.
  constexpr auto kMost = std::chrono::seconds(60);
  const auto begin = std::chrono::steady_clock::now();
  for (;;) {
    const std::vector<Thread> threads = threads_of(daemon_pid_);
    if (std::ranges::all_of(threads, &Thread::has_ended)) {
      return Failure{EBUSY, fmt::format("stopping the file system daemon {}: it has just ended (try again)",
                                        daemon_pid_)};
    }
    const auto at_work = std::ranges::find_if(
        threads, [](const Thread& thread) { return !thread.has_ended() && !thread.has_stopped(); });
    if (at_work == threads.end()) return {};
    if (std::chrono::steady_clock::now() - begin > kMost) {
      return Failure{EBUSY,
                     fmt::format("stopping the file system daemon {}: a thread of it is still at work after "
                                 "{} s, by /proc/{}/task: {} (is the disk very busy? try again)",
                                 daemon_pid_, kMost.count(), daemon_pid_, at_work->text)};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

ResultOrFailure<std::unique_ptr<Standstill>> Standstill::begin(const std::string& upper,
                                                               const std::string& store_directory,
                                                               const image::ContainerState* container) {
  std::unique_ptr<Standstill> made(new Standstill);
  const std::optional<pid_t> daemon = locker_of(upper);
  if (!daemon) return Failure{EBUSY, upper + ": is in use, by whom cannot be found out (unmount it first)"};
  made->daemon_pid_ = *daemon;
  made->daemon_.reset(static_cast<int>(::syscall(SYS_pidfd_open, *daemon, 0)));
  // Looked at again: a number may be used again, a descriptor is of one process.
  if (!made->daemon_.valid() || locker_of(upper) != daemon) {
    return Failure{EBUSY, upper + ": whoever uses it is just ending (try again)"};
  }
  VARVE_RETURN_IF_ERROR(made->wait_for_others());
  if (container != nullptr) VARVE_RETURN_IF_ERROR(made->pause(store_directory, *container));
  VARVE_RETURN_IF_ERROR(made->start_guard());
  if (container != nullptr && container->command_pid > 0) {
    write_out(fmt::format("/proc/{}/root", container->command_pid));
  } else {
    write_out_own_mounts();
  }
  VARVE_RETURN_IF_ERROR(made->stop_daemon());
  return made;
}

Standstill::~Standstill() {
  if (daemon_.valid()) send_signal(daemon_.get(), SIGCONT);
  if (!launcher_.empty()) {
    [[maybe_unused]] const auto ignored =
        run_neighbour({launcher_, "unpause", "--store", store_, container_});  // it says why by itself
  }
  if (guard_ < 0) return;
  [[maybe_unused]] const ssize_t told = ::write(guard_line_.get(), "d", 1);
  guard_line_.reset();
  while (::waitpid(guard_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace varve::imagetool
