#include "fs/daemon/background.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "fs/fuse/given_device.h"

namespace varve::daemon {
namespace {

// The parent's part: the exit status of the command.
int wait_for_child(pid_t child, const UniqueFd& pipe, const std::string& mount_point) {
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::read(pipe.get(), &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count != 1) {
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1;
  }
  struct stat stat {};
  if (!fuse::is_descriptor(mount_point) && ::stat(mount_point.c_str(), &stat) != 0) {
    log_error("mounting: {}: mounted, but it does not answer: {}", mount_point, std::strerror(errno));
    return 1;
  }
  return 0;
}

}  // namespace

ResultOrFailure<Background> Background::start(const std::string& mount_point, const std::string& log_file) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return failure_from(Errno::last(), "going to the background");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return failure_from(Errno::last(), "going to the background");
  if (child > 0) {
    write_end.reset();
    ::_exit(wait_for_child(child, read_end, mount_point));
  }
  ::setsid();
  UniqueFd log;
  if (!log_file.empty()) {
    log = UniqueFd(::open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log.valid()) {
      log_error("log file: {}: {} (the log goes to syslog)", log_file, std::strerror(errno));
    }
  }
  return Background(std::move(write_end), std::move(log));
}

void Background::ready() {
  LogDestination destination;
  destination.kind = LogDestination::Kind::kSyslog;
  destination.program = "varvefs";
  if (log_.valid()) {
    destination.kind = LogDestination::Kind::kFile;
    destination.fd = log_.release();
  }
  set_log_destination(std::move(destination));
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) {
    for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), standard);
  }
  // The directory that the command was started in must not be kept busy. It cannot fail for "/".
  if (::chdir("/") != 0) log_warning("chdir /: {}", std::strerror(errno));
  const char byte = 'R';
  if (::write(pipe_.get(), &byte, 1) != 1) log_warning("the command that started this mount is gone");
  pipe_.reset();
}

}  // namespace varve::daemon
