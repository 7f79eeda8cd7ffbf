#include "imagetool/mounted_upper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "fs/base/unique_fd.h"
#include "fs/upper/mount_note.h"
#include "fs/upper/state_file.h"
#include "imagetool/image/object_at.h"
#include "imagetool/proc_text.h"

namespace varve::imagetool {
namespace {

ResultOrFailure<std::string> link_text(const std::string& path) {
  const Result<std::string> text = image::read_link_at(AT_FDCWD, path);
  if (!text.ok()) return failure_from(text.error(), path);
  return *text;
}

std::optional<std::string> line_that_begins(const std::string& path, const std::string& beginning) {
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(beginning)) return line.substr(beginning.size());
  }
  return std::nullopt;
}

std::optional<uid_t> user_in(const std::string& options) {
  std::istringstream words(options);
  for (std::string word; std::getline(words, word, ',');) {
    if (word.starts_with("user_id=")) return static_cast<uid_t>(std::strtoul(word.c_str() + 8, nullptr, 10));
  }
  return std::nullopt;
}

// "36 35 98:0 /part /mount/point rw,noatime master:1 - type source rw,user_id=0".
std::optional<MountAt> parse_mount(const std::string& line, const std::string& mount_id) {
  std::istringstream words(line);
  std::string id;
  std::string parent;
  std::string device;
  MountAt at;
  std::string options;
  words >> id >> parent >> device >> at.part >> at.mount_point >> options;
  if (id != mount_id) return std::nullopt;
  for (std::string word; words >> word && word != "-";) {
  }
  std::string source;
  std::string super_options;
  words >> at.type >> source >> super_options;
  unsigned major_number = 0;
  unsigned minor_number = 0;
  char colon = 0;
  std::istringstream(device) >> major_number >> colon >> minor_number;
  at.device = makedev(major_number, minor_number);
  at.part = unescaped_proc_text(at.part);
  at.mount_point = unescaped_proc_text(at.mount_point);
  at.read_only = options.starts_with("ro") || super_options.starts_with("ro");
  at.user = user_in(super_options);
  return at;
}

// Directories that a process has locked with flock(2), as "/proc/PID/fd/N".
std::vector<std::string> locked_directories(pid_t pid) {
  const std::string process = fmt::format("/proc/{}", pid);
  const UniqueFd fds(::open((process + "/fd").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::vector<std::string> found;
  if (!fds.valid()) return found;
  const Result<std::vector<std::string>> names = image::list_names(fds.get());
  if (!names.ok()) return found;
  for (const std::string& name : *names) {
    const auto lock = line_that_begins(process + "/fdinfo/" + name, "lock:");
    if (!lock || lock->find(" FLOCK ") == std::string::npos) continue;
    struct stat status {};
    std::string path = process + "/fd/" + name;
    if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) found.push_back(std::move(path));
  }
  return found;
}

// Processes of our user that have locked something.
std::vector<pid_t> lockers() {
  std::vector<pid_t> pids;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number;
    std::string kind;
    std::string advisory;
    std::string mode;
    long pid = 0;
    words >> number >> kind >> advisory >> mode >> pid;
    struct stat status {};
    if (kind != "FLOCK" || pid <= 0) continue;
    if (::stat(fmt::format("/proc/{}", pid).c_str(), &status) != 0 || status.st_uid != ::geteuid()) continue;
    pids.push_back(static_cast<pid_t>(pid));
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

// The name of what `descriptor` ("/proc/PID/fd/N") is open on. Returns: ESTALE when that name leads elsewhere from here.
ResultOrFailure<std::string> name_of(const std::string& descriptor) {
  VARVE_ASSIGN(const std::string name, link_text(descriptor));
  struct stat held {};
  struct stat named {};
  if (::stat(descriptor.c_str(), &held) != 0 || ::stat(name.c_str(), &named) != 0 ||
      held.st_dev != named.st_dev || held.st_ino != named.st_ino) {
    return Failure{ESTALE, name + ": the upper of the mount was moved or lies in another mount namespace"};
  }
  return name;
}

// Of the process `pid`, if it serves the mount; else empty.
ResultOrFailure<std::optional<MountedUpper>> upper_of_process(pid_t pid, dev_t device) {
  const std::vector<std::string> locked = locked_directories(pid);
  std::optional<MountedUpper> found;
  for (const std::string& directory : locked) {
    const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) continue;
    const Result<upper::MountNote> note = upper::read_mount_note(fd.get());
    if (!note.ok() || note->device != device) continue;
    found.emplace();
    VARVE_ASSIGN(found->upper, name_of(directory));
    found->image = note->image;
    // It locks these two and no other directory.
    for (const std::string& other : locked) {
      if (other == directory) continue;
      VARVE_ASSIGN(found->work, name_of(other));
    }
  }
  return found;
}

}  // namespace

ResultOrFailure<MountAt> mount_at(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return failure_from(Errno::last(), path);
  VARVE_ASSIGN(const std::string name, link_text(fmt::format("/proc/self/fd/{}", fd.get())));
  const auto id = line_that_begins(fmt::format("/proc/self/fdinfo/{}", fd.get()), "mnt_id:\t");
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; id && std::getline(mounts, line);) {
    std::optional<MountAt> at = parse_mount(line, *id);
    if (!at) continue;
    at->is_mount_point = at->mount_point == name;
    return std::move(*at);
  }
  return Failure{ENOENT, path + ": what is mounted there is not in /proc/self/mountinfo"};
}

ResultOrFailure<MountedUpper> upper_of_mount(const MountAt& at) {
  if (at.part != "/") {
    return Failure{EINVAL, fmt::format("{}: shows only {} of a mount (name the mount point of all of it)",
                                       at.mount_point, at.part)};
  }
  if (at.user != ::geteuid()) {
    return Failure{EPERM, at.mount_point + ": was mounted by " +
                              (at.user ? fmt::format("user {}", *at.user) : std::string("another user")) +
                              ", whose word is not taken (commit it as that user)"};
  }
  std::optional<MountedUpper> found;
  for (const pid_t pid : lockers()) {
    VARVE_ASSIGN(std::optional<MountedUpper> one, upper_of_process(pid, at.device));
    if (!one) continue;
    if (found) return Failure{EBUSY, at.mount_point + ": is just being unmounted (try again)"};
    found = std::move(one);
  }
  if (!found && at.read_only) {
    return Failure{ENOTSUP, at.mount_point + ": is mounted without an upper, so nothing was written in it"};
  }
  if (!found || found->work.empty()) {
    return Failure{ENOTSUP,
                   at.mount_point +
                       ": which upper it has cannot be found out (name that: `imagetool commit UPPER "
                       "NAME --parent IMAGE`)"};
  }
  const UniqueFd own(::open((found->work + "/varve").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (own.valid()) {
    const Result<std::optional<upper::UpperState>> state = upper::read_state(own.get());
    if (!state.ok()) return failure_from(state.error(), found->work + "/varve/state");
    if (*state) found->base_stack = (*state)->base_stack;
  }
  return std::move(*found);
}

}  // namespace varve::imagetool
