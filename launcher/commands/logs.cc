#include "launcher/commands/logs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <vector>

#include "fs/base/write_all.h"
#include "launcher/commands/running.h"
#include "launcher/explain.h"
#include "launcher/outside/container_log.h"

namespace varve::launcher {
namespace {

constexpr const char* kReading = "reading the container's log";

// Writes lines out. A line that came in parts is one line again.
class Printer {
 public:
  explicit Printer(bool timestamps) : timestamps_(timestamps) {}

  // Returns: EPIPE and so on when nobody reads.
  Status print(std::string_view line) {
    const Result<LogLine> parsed = parse_log_line(line);
    if (!parsed.ok()) return {};  // cut short by a full disk or a killed monitor
    std::string text;
    if (timestamps_ && !goes_on_) text.append(parsed->time).append(" ");
    text.append(parsed->text);
    if (parsed->ends) text += '\n';
    goes_on_ = !parsed->ends;
    return write_all(parsed->stream == LogStream::kOut ? STDOUT_FILENO : STDERR_FILENO, text);
  }

 private:
  bool timestamps_;
  bool goes_on_ = false;
};

// The lines of one file, from where the last call ended.
class LineReader {
 public:
  explicit LineReader(UniqueFd file) : file_(std::move(file)) {}

  // Calls `take` for each whole line that is there now. Returns: its failure, or that of reading.
  template <class Take>
  Status read_lines(Take take) {
    std::array<char, 65536> bytes;
    for (;;) {
      const ssize_t got = ::read(file_.get(), bytes.data(), bytes.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Errno::last();
      if (got == 0) return {};
      rest_.append(bytes.data(), static_cast<std::size_t>(got));
      std::size_t begin = 0;
      for (std::size_t end = rest_.find('\n'); end != std::string::npos; end = rest_.find('\n', begin)) {
        VARVE_RETURN_IF_ERROR(take(std::string_view(rest_).substr(begin, end - begin)));
        begin = end + 1;
      }
      rest_.erase(0, begin);
    }
  }
  bool is_file(const struct stat& about) const {
    struct stat own = {};
    return ::fstat(file_.get(), &own) == 0 && own.st_ino == about.st_ino && own.st_dev == about.st_dev;
  }

 private:
  UniqueFd file_;
  std::string rest_;
};

UniqueFd open_log(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// Oldest first, the one that is written to last. All are opened before any is read: one that is rotated meanwhile stays the same.
std::vector<LineReader> open_all(const std::string& path) {
  std::vector<LineReader> newest_first;
  for (unsigned number = 0;; ++number) {
    UniqueFd file = open_log(number == 0 ? path : path + "." + std::to_string(number));
    if (!file.valid()) break;
    newest_first.emplace_back(std::move(file));
  }
  return {std::make_move_iterator(newest_first.rbegin()), std::make_move_iterator(newest_first.rend())};
}

Status print_present(std::vector<LineReader>& files, const LogsOptions& options, Printer& printer) {
  std::deque<std::string> last;
  for (LineReader& file : files) {
    VARVE_RETURN_IF_ERROR(file.read_lines([&](std::string_view line) -> Status {
      if (!options.tail) return printer.print(line);
      last.emplace_back(line);
      if (last.size() > *options.tail) last.pop_front();
      return {};
    }));
  }
  for (const std::string& line : last) VARVE_RETURN_IF_ERROR(printer.print(line));
  return {};
}

// Goes on with what is written, through rotations, until nobody writes any more.
StatusOrFailure follow(const image::ContainerStore& store, const LogsOptions& options,
                       const std::string& path, LineReader& file, Printer& printer) {
  const UniqueFd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const std::string directory = store.directory_of(options.name);
  if (!watch.valid() ||
      ::inotify_add_watch(watch.get(), directory.c_str(), IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
    return explain(Errno::last(), kReading, directory, "see /proc/sys/fs/inotify");
  }
  const auto print = [&](std::string_view line) { return printer.print(line); };
  for (;;) {
    // Asked before the last look, so that nothing is written after it.
    const ResultOrFailure<std::optional<UniqueFd>> lock = store.lock_stopped(options.name);
    const bool has_ended = !lock.ok() || lock->has_value();
    Status read = file.read_lines(print);
    struct stat about = {};
    if (read.ok() && ::stat(path.c_str(), &about) == 0 && !file.is_file(about)) {
      file = LineReader(open_log(path));
      continue;
    }
    if (!read.ok()) return explain(read.error(), kReading, path);
    if (has_ended) return {};
    // The lock is let go of without an event here: a look now and then finds that.
    constexpr int kLookMs = 200;
    struct pollfd changed = {watch.get(), POLLIN, 0};
    ::poll(&changed, 1, kLookMs);
    std::array<char, 4096> events;
    while (::read(watch.get(), events.data(), events.size()) > 0) {
    }
  }
}

}  // namespace

StatusOrFailure show_logs(const LogsOptions& options) {
  const image::ContainerStore store = containers_of(options.store);
  VARVE_ASSIGN(const image::ContainerState state, store.read(options.name));
  if (!state.detached) {
    return refuse(kReading, options.name,
                  "its output went to the terminal it was started from and was not kept", "start it with -d");
  }
  const std::string path = store.directory_of(options.name) + "/" + kLogName;
  std::vector<LineReader> files = open_all(path);
  if (files.empty()) return explain(Errno{ENOENT}, kReading, path);
  Printer printer(options.timestamps);
  const Status printed = print_present(files, options, printer);
  if (!printed.ok()) return explain(printed.error(), kReading, path);
  return options.follow ? follow(store, options, path, files.back(), printer) : StatusOrFailure();
}

}  // namespace varve::launcher
