#pragma once

// The process's log: one line a message, written with one write(2). Goes to standard error until set_log_destination
// is called. Thread rule: log_* may be called from any thread; set_log_destination only while one thread runs.

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace varve {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kFatal };

struct LogDestination {
  enum class Kind { kStandardError, kSyslog, kFile } kind = Kind::kStandardError;
  int fd = -1;                    // kFile: an append-mode descriptor, borrowed for the life of the process
  std::string program = "varve";  // the PROGRAM of "PROGRAM: message"
  LogLevel least = LogLevel::kInfo;
};

void set_log_destination(LogDestination destination);
void log_line(LogLevel level, std::string_view message);

template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_fatal(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kFatal, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace varve
