#include "fs/base/log.h"

#include <syslog.h>
#include <unistd.h>

namespace varve {
namespace {

// The one piece of process-wide state: a process has one log, and it must work inside check_failed.
LogDestination& destination() {
  static LogDestination instance;
  return instance;
}

int syslog_priority(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return LOG_DEBUG;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kError:
      return LOG_ERR;
    case LogLevel::kFatal:
      return LOG_CRIT;
  }
  return LOG_ERR;
}

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug: ";
    case LogLevel::kInfo:
      return "";
    case LogLevel::kWarning:
      return "warning: ";
    case LogLevel::kError:
      return "";
    case LogLevel::kFatal:
      return "fatal: ";
  }
  return "";
}

}  // namespace

void set_log_destination(LogDestination next) {
  destination() = std::move(next);
  if (destination().kind == LogDestination::Kind::kSyslog) {
    openlog(destination().program.c_str(), LOG_PID | LOG_NDELAY, LOG_DAEMON);
  }
}

void log_line(LogLevel level, std::string_view message) {
  const LogDestination& to = destination();
  if (level < to.least) return;
  if (to.kind == LogDestination::Kind::kSyslog) {
    syslog(syslog_priority(level), "%s%.*s", level_name(level), static_cast<int>(message.size()),
           message.data());
    return;
  }
  const std::string line = fmt::format("{}: {}{}\n", to.program, level_name(level), message);
  const int fd = to.kind == LogDestination::Kind::kFile ? to.fd : STDERR_FILENO;
  // A log that cannot be written has nowhere to report that.
  [[maybe_unused]] const ssize_t written = ::write(fd, line.data(), line.size());
}

}  // namespace varve
