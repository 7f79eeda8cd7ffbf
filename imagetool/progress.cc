#include "imagetool/progress.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "imagetool/commands.h"

namespace varve::imagetool {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // it is set in a signal handler

constexpr auto kDrawPeriod = std::chrono::milliseconds(100);
constexpr auto kLinePeriod = std::chrono::seconds(1);
constexpr int kBarWidth = 24;

TerminalSize terminal_size() {
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row};
}

void write_out(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  std::fputs(text.c_str(), stderr);
}

}  // namespace

void install_interrupt_handlers() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted.store(true, std::memory_order_relaxed); };
  // A second Ctrl-C ends the program at once; the output has no name until it is whole, so even then nothing
  // is left.
  action.sa_flags = SA_RESETHAND;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

std::unique_ptr<ProgressMonitor> ProgressMonitor::make(std::string_view kind) {
  Style style = Style::kNone;
  if (kind == "plain") style = Style::kPlain;
  if (kind == "auto" && ::isatty(STDERR_FILENO) == 1) style = Style::kBar;
  return std::unique_ptr<ProgressMonitor>(new ProgressMonitor(style));
}

ProgressMonitor::~ProgressMonitor() {
  clear();
}

bool ProgressMonitor::cancelled() const {
  return interrupted.load(std::memory_order_relaxed);
}

void ProgressMonitor::begin(std::string_view label, std::uint64_t total_bytes) {
  label_ = label;
  running_ = true;
  total_bytes_ = total_bytes;
  done_bytes_ = 0;
  begin_ = Clock::now();
  next_draw_ = begin_ + kDrawPeriod;
  next_line_ = begin_ + kLinePeriod;
}

void ProgressMonitor::advance(std::uint64_t bytes) {
  done_bytes_ += bytes;
  if (style_ == Style::kNone || (!running_ && !parts_)) return;
  const auto now = Clock::now();
  if (now < next_draw_) return;
  next_draw_ = now + kDrawPeriod;
  tell_parts();
  if (style_ == Style::kPlain && running_ && now >= next_line_) {
    next_line_ = now + kLinePeriod;
    write_out({line(false)});
  }
}

void ProgressMonitor::end() {
  if (running_ && style_ == Style::kPlain) write_out({line(true)});
  running_ = false;
  if (!parts_) clear();
}

void ProgressMonitor::show_parts(std::shared_ptr<const image::PartProgress> parts) {
  tell_parts();
  clear();
  parts_ = std::move(parts);
  part_lines_.reset();
  if (parts_) part_lines_.emplace(parts_->what(), Clock::now());
  tell_parts();
}

void ProgressMonitor::tell_parts() {
  std::vector<std::string> news;
  if (part_lines_) news = part_lines_->news(parts_->parts(), style_ == Style::kPlain);
  if (style_ == Style::kPlain) write_out(news);
  if (style_ == Style::kBar) draw(news);
}

std::string ProgressMonitor::line(bool last) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
  const double rate = static_cast<double>(done_bytes_) / std::max(seconds, 1e-3);
  if (total_bytes_ == 0) {
    return done_bytes_ == 0 ? fmt::format("{}: {}", label_, last ? "done" : "...")
                            : fmt::format("{}: {}", label_, human_bytes(done_bytes_));
  }
  std::string text = fmt::format("{}: {} of {}, {}/s", label_, human_bytes(done_bytes_),
                                 human_bytes(total_bytes_), human_bytes(static_cast<std::uint64_t>(rate)));
  if (last) return text + fmt::format(", {} in all", human_seconds(seconds));
  const std::uint64_t left = total_bytes_ - std::min(done_bytes_, total_bytes_);
  if (rate > 1) text += fmt::format(", {} left", human_seconds(static_cast<double>(left) / rate));
  return text;
}

std::string ProgressMonitor::bar() const {
  if (total_bytes_ == 0) return line(false);
  const double part = std::min(1.0, static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_));
  const auto full = static_cast<std::size_t>(part * kBarWidth);
  return "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') +
         fmt::format("] {:3.0f}% ", part * 100) + line(false);
}

void ProgressMonitor::draw(const std::vector<std::string>& kept) {
  std::vector<std::string> lines;
  if (part_lines_) lines = part_lines_->live(parts_->parts(), Clock::now());
  if (running_) lines.push_back(bar());
  std::fputs(live_.draw(kept, lines, terminal_size()).c_str(), stderr);
}

void ProgressMonitor::clear() {
  if (!live_.empty()) std::fputs(live_.clear(terminal_size()).c_str(), stderr);
}

void ProgressMonitor::warn(const std::string& text) {
  clear();
  print_warning(text);
}

}  // namespace varve::imagetool
