#include "launcher/detach.h"

#include <fcntl.h>
#include <unistd.h>

#include "fs/base/log.h"
#include "launcher/explain.h"
#include "launcher/inside/process.h"
#include "launcher/kernel/control_channel.h"

namespace varve::launcher {
namespace {

// From now on nobody looks at the monitor's own streams: what it has to say is kept beside the container's record.
void let_go_of_streams(const std::string& log_path) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd log(
      log_path.empty() ? -1 : ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  for (int fd = 0; fd <= 2; ++fd) {
    const int other = fd == STDERR_FILENO && log.valid() ? log.get() : null.get();
    if (other < 0 || ::dup2(other, fd) < 0) ::close(fd);
  }
}

[[noreturn]] void become_monitor(const std::function<Outcome(const std::function<bool()>&)>& work,
                                 const DetachedWork& about, ControlChannel report) {
  ::setsid();
  const Outcome outcome = work([&]() {
    ControlMessage started;
    started.kind = ControlMessage::Kind::kGo;
    // Who was killed before knows of no container, and nobody else does.
    if (!report.send(started).ok()) return false;
    report.close();
    let_go_of_streams(about.log_path);
    return true;
  });
  if (report.fd() >= 0) {
    ControlMessage failed;
    failed.kind = ControlMessage::Kind::kFailed;
    failed.exit_status = outcome.exit_status;
    failed.text = outcome.failure.message;
    [[maybe_unused]] const Status told = report.send(failed);
  } else if (!outcome.failure.message.empty()) {
    log_error("{}", outcome.failure.message);
  }
  ::_exit(0);
}

}  // namespace

Outcome go_on_detached(const std::function<Outcome(const std::function<bool()>& on_started)>& work,
                       const DetachedWork& about) {
  Result<std::pair<ControlChannel, ControlChannel>> report = ControlChannel::make_pair();
  if (!report.ok())
    return {kLauncherFailed, explain(report.error(), "making a line to the monitor", "socketpair")};
  const pid_t monitor = ::fork();
  if (monitor < 0) return {kLauncherFailed, explain(Errno::last(), "starting the monitor", "fork")};
  if (monitor == 0) {
    report->first.close();
    become_monitor(work, about, std::move(report->second));
  }
  report->second.close();
  const Result<ControlMessage> heard = report->first.receive();
  if (!heard.ok() || heard->kind == ControlMessage::Kind::kEnd) {
    return {kLauncherFailed, refuse("starting in the background", about.name, "its monitor was killed")};
  }
  if (heard->kind == ControlMessage::Kind::kGo) return {};
  return {heard->exit_status, Failure{EIO, heard->text}};
}

}  // namespace varve::launcher
