#include "launcher/outside/mapped_removal.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "fs/base/unique_fd.h"
#include "imagetool/image/store/atomic_file.h"
#include "launcher/explain.h"
#include "launcher/idmap.h"

namespace varve::launcher {
namespace {

constexpr const char* kRemoving = "removing files of mapped ids";

// In the new namespace, once a byte says that it has its map. Exits with the errno.
[[noreturn]] void remove_inside(const std::string& path, int ready) {
  char byte = 0;
  if (::read(ready, &byte, 1) != 1) ::_exit(EPIPE);
  ::_exit(error_number(image::remove_tree(path)));
}

StatusOrFailure remove_in_namespace(const std::string& path, const IdMap& map) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return explain(Errno::last(), kRemoving, path);
  const UniqueFd ready(ends[0]);
  UniqueFd go(ends[1]);
  struct clone_args arguments = {};
  arguments.flags = CLONE_NEWUSER;
  arguments.exit_signal = SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) {
    go.reset();
    remove_inside(path, ready.get());
  }
  if (pid < 0) return explain(Errno::last(), kRemoving, path, "it needs a user namespace");
  const StatusOrFailure mapped = write_id_map(static_cast<pid_t>(pid), map);
  // Without the byte the child ends and deletes nothing.
  const bool told = mapped.ok() && ::write(go.get(), "g", 1) == 1;
  go.reset();
  int status = 0;
  while (::waitpid(static_cast<pid_t>(pid), &status, 0) < 0) {
    if (errno != EINTR) return explain(Errno::last(), kRemoving, path);
  }
  if (!mapped.ok()) return mapped.error();
  if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return explain(Errno{WIFEXITED(status) ? WEXITSTATUS(status) : EINTR}, kRemoving, path);
}

}  // namespace

StatusOrFailure remove_with_all_ids(const std::string& path) {
  const Status removed = image::remove_tree(path);
  if (removed.ok()) return {};
  const bool is_forbidden = removed.error().value == EACCES || removed.error().value == EPERM;
  if (!is_forbidden || ::geteuid() == 0) return explain(removed.error(), "removing", path);
  VARVE_ASSIGN(const IdChoice ids, choose_ids({}, id_sources_of_this_process()));
  if (ids.map.uid_helper.empty()) {
    return explain(removed.error(), kRemoving, path, ids.note.empty() ? "no ids can be mapped" : ids.note);
  }
  return remove_in_namespace(path, ids.map);
}

}  // namespace varve::launcher
