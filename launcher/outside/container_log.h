#pragma once

// ContainerLog: what a detached container says, kept in its directory: a line for each line, in the form that container engines
// share (Kubernetes CRI, "kubelet container log format"):
//
//   2026-11-28T10:00:00.123456789Z stdout F text      F: the line ended here; P: it goes on in the next
//
// Rotated: at its greatest size NAME becomes NAME.1, that NAME.2 and so on, up to a number of files.
// Thread rule: one thread, the monitor's. read_log() may run at the same time in other processes.

#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <string_view>

#include "fs/base/result.h"
#include "fs/base/unique_fd.h"
#include "launcher/lifetime_plan.h"

namespace varve::launcher {

enum class LogStream : std::uint8_t { kOut, kErr };

// Its name in the container's directory of the store.
inline constexpr const char* kLogName = "output.log";

class ContainerLog {
 public:
  static constexpr std::size_t kMaxLineBytes = 16384;  // longer ones are written in parts

  static ResultOrFailure<ContainerLog> open(const std::string& path, const LogLimits& limits);

  // Takes over `bytes`; what is no whole line yet waits for the rest of it, up to kMaxLineBytes. What cannot be written is lost:
  // a full disk must not stop the container.
  void write(LogStream stream, std::string_view bytes);
  // The last line too, though it has not ended.
  void finish();
  // Times of lines come from here; for tests.
  void set_clock(std::function<struct timespec()> clock) { clock_ = std::move(clock); }

 private:
  ContainerLog(std::string path, LogLimits limits, UniqueFd file, std::uint64_t size_bytes)
      : path_(std::move(path)), limits_(limits), file_(std::move(file)), size_bytes_(size_bytes) {}
  void put(LogStream stream, char kind, std::string_view text);
  void rotate();

  std::string path_;
  LogLimits limits_;
  UniqueFd file_;
  std::uint64_t size_bytes_;
  std::string pending_[2];
  std::function<struct timespec()> clock_;
};

struct LogLine {
  std::string_view time;
  LogStream stream = LogStream::kOut;
  bool ends = true;  // F
  std::string_view text;
};
// A line of the file without its line feed. Returns: EBADMSG for another text: nobody else should write there, but files can be
// cut short.
Result<LogLine> parse_log_line(std::string_view line);

}  // namespace varve::launcher
