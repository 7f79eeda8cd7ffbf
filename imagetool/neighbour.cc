#include "imagetool/neighbour.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "imagetool/image/program_beside.h"

namespace varve::imagetool {

ResultOrFailure<std::string> find_neighbour(const std::string& name) {
  if (std::string found = image::find_program_beside(name); !found.empty()) return found;
  return Failure{
      ENOENT, name + ": neither in " + image::own_directory() + " nor in PATH (install it beside imagetool)"};
}

ResultOrFailure<int> run_neighbour(const std::vector<std::string>& words, int kept_fd) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  ::sigemptyset(&defaults);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::sigaddset(&defaults, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // To itself: that takes close-on-exec away (posix_spawn_file_actions_adddup2(3p)).
  if (kept_fd >= 0) ::posix_spawn_file_actions_adddup2(&actions, kept_fd, kept_fd);
  pid_t child = -1;
  const int failed =
      ::posix_spawn(&child, words.front().c_str(), &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) return failure_from(Errno{failed}, words.front());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return failure_from(Errno::last(), words.front());
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace varve::imagetool
