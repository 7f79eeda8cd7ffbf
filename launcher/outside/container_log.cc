#include "launcher/outside/container_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kOpening = "opening the container's log";

UniqueFd open_for_append(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

struct timespec now() {
  struct timespec time = {};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

std::string time_text(const struct timespec& time) {
  struct tm parts = {};
  ::gmtime_r(&time.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, time.tv_nsec);
}

}  // namespace

ResultOrFailure<ContainerLog> ContainerLog::open(const std::string& path, const LogLimits& limits) {
  UniqueFd file = open_for_append(path);
  struct stat about = {};
  if (!file.valid() || ::fstat(file.get(), &about) != 0) return explain(Errno::last(), kOpening, path);
  return ContainerLog(path, limits, std::move(file), static_cast<std::uint64_t>(about.st_size));
}

void ContainerLog::write(LogStream stream, std::string_view bytes) {
  std::string& pending = pending_[static_cast<std::size_t>(stream)];
  while (!bytes.empty()) {
    const std::size_t room = kMaxLineBytes - pending.size();
    const std::size_t line_end = bytes.substr(0, room).find('\n');
    if (line_end != std::string_view::npos) {
      pending.append(bytes.substr(0, line_end));
      bytes.remove_prefix(line_end + 1);
      put(stream, 'F', pending);
      pending.clear();
      continue;
    }
    const std::size_t taken = std::min(room, bytes.size());
    pending.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (pending.size() < kMaxLineBytes) return;
    put(stream, 'P', pending);
    pending.clear();
  }
}

void ContainerLog::finish() {
  for (const LogStream stream : {LogStream::kOut, LogStream::kErr}) {
    std::string& pending = pending_[static_cast<std::size_t>(stream)];
    if (!pending.empty()) put(stream, 'P', pending);
    pending.clear();
  }
}

void ContainerLog::put(LogStream stream, char kind, std::string_view text) {
  const std::string line = fmt::format("{} {} {} {}\n", time_text(clock_ ? clock_() : now()),
                                       stream == LogStream::kOut ? "stdout" : "stderr", kind, text);
  if (size_bytes_ > 0 && size_bytes_ + line.size() > limits_.max_bytes) rotate();
  if (!file_.valid()) file_ = open_for_append(path_);
  const ssize_t written = file_.valid() ? ::write(file_.get(), line.data(), line.size()) : -1;
  if (written > 0) size_bytes_ += static_cast<std::uint64_t>(written);
}

void ContainerLog::rotate() {
  const auto numbered = [&](unsigned number) {
    return number == 0 ? path_ : path_ + "." + std::to_string(number);
  };
  file_.reset();
  size_bytes_ = 0;
  // The oldest is overwritten by the one after it. With a single file there is none to move it to.
  if (limits_.max_files <= 1) ::unlink(path_.c_str());
  for (unsigned number = std::max(limits_.max_files, 1U) - 1; number > 0; --number) {
    ::rename(numbered(number - 1).c_str(), numbered(number).c_str());
  }
}

Result<LogLine> parse_log_line(std::string_view line) {
  LogLine parsed;
  const auto take_word = [&line]() {
    const std::size_t space = line.find(' ');
    const std::string_view word = line.substr(0, space);
    line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
    return word;
  };
  parsed.time = take_word();
  const std::string_view stream = take_word();
  const std::string_view kind = take_word();
  if (parsed.time.empty() || (stream != "stdout" && stream != "stderr") || (kind != "F" && kind != "P"))
    return Errno{EBADMSG};
  parsed.stream = stream == "stdout" ? LogStream::kOut : LogStream::kErr;
  parsed.ends = kind == "F";
  parsed.text = line;
  return parsed;
}

}  // namespace varve::launcher
