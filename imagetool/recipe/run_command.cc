#include "imagetool/recipe/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "fs/base/unique_fd.h"
#include "imagetool/image/program_beside.h"

namespace varve::recipe {
namespace {

constexpr int kLookMilliseconds = 100;  // how soon Ctrl-C is seen
constexpr auto kPatience = std::chrono::seconds(10);

bool is_program(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

// The topmost first; what would end a path is escaped.
std::string layers_word(const std::vector<std::string>& bottom_first) {
  std::string word;
  for (auto path = bottom_first.rbegin(); path != bottom_first.rend(); ++path) {
    if (!word.empty()) word += ':';
    for (const char c : *path) {
      if (c == ':' || c == '\\') word += '\\';
      word += c;
    }
  }
  return word;
}

std::vector<std::string> words_of(const RunRequest& request) {
  std::vector<std::string> words = {request.launcher,
                                    "run",
                                    "--store",
                                    request.store_directory,
                                    "--rm",
                                    "--layers",
                                    layers_word(request.layer_paths),
                                    "--hostname",
                                    "build",
                                    "--network",
                                    request.network};
  if (request.upper.empty()) {
    words.emplace_back("--read-only");
  } else {
    words.insert(words.end(), {"--upper", request.upper, "--work", request.work});
  }
  for (const std::string& variable : request.environment) words.insert(words.end(), {"--env", variable});
  if (!request.user.empty()) words.insert(words.end(), {"--user", request.user});
  if (!request.working_directory.empty()) words.insert(words.end(), {"--workdir", request.working_directory});
  if (!request.script.empty()) {
    words.insert(words.end(),
                 {"--mount", "type=bind,source=" + request.script + ",target=" + kScriptPath + ",readonly"});
  }
  words.emplace_back("--");
  words.insert(words.end(), request.command.begin(), request.command.end());
  return words;
}

// In the child: only what may be called after fork(2).
[[noreturn]] void become(char* const* words, pid_t parent, int null_fd, bool quiet) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);  // it has died before that
  ::dup2(null_fd, STDIN_FILENO);
  ::dup2(quiet ? null_fd : STDERR_FILENO, STDOUT_FILENO);
  if (quiet) ::dup2(null_fd, STDERR_FILENO);
  ::execv(words[0], words);
  ::_exit(125);
}

}  // namespace

ResultOrFailure<std::string> find_launcher() {
  if (const char* told = std::getenv("VARVE_LAUNCHER"); told != nullptr && *told != '\0') {
    if (is_program(told)) return std::string(told);
    return Failure{ENOENT, std::string(told) + ": $VARVE_LAUNCHER is no program"};
  }
  if (std::string found = image::find_program_beside("varve"); !found.empty()) return found;
  return Failure{
      ENOENT,
      "RUN needs the launcher, varve, which is neither beside imagetool nor in PATH (install it, or set "
      "$VARVE_LAUNCHER)"};
}

ResultOrFailure<int> run_in_stage(const RunRequest& request, const image::Monitor& monitor) {
  std::vector<std::string> words = words_of(request);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const UniqueFd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_fd.valid()) return failure_from(Errno::last(), "/dev/null");
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failure_from(Errno::last(), request.launcher);
  if (child == 0) become(pointers.data(), parent, null_fd.get(), request.quiet);

  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  bool told = false;
  bool killed = false;
  std::chrono::steady_clock::time_point since;
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return failure_from(Errno::last(), request.launcher);
    struct pollfd wanted = {.fd = process.get(), .events = POLLIN, .revents = 0};
    ::poll(&wanted, 1, kLookMilliseconds);
    if (!monitor.cancelled()) continue;
    if (!told) {
      told = true;
      since = std::chrono::steady_clock::now();
      ::kill(child, SIGTERM);
    } else if (!killed && std::chrono::steady_clock::now() - since > kPatience) {
      killed = true;
      ::kill(child, SIGKILL);
    }
  }
  if (monitor.cancelled()) return image::cancelled_failure();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ResultOrFailure<std::string> choose_network(RunRequest request, const image::Monitor& monitor) {
  request.network = ::geteuid() == 0 ? "bridge" : "pasta";
  request.upper.clear();
  request.work.clear();
  request.script.clear();
  request.user.clear();
  request.working_directory.clear();
  request.environment.clear();
  request.command = {"/.varve-there-is-no-such-program"};
  request.quiet = true;
  VARVE_ASSIGN(const int status, run_in_stage(request, monitor));
  return status == 127 ? request.network : std::string("host");
}

}  // namespace varve::recipe
