#include "imagetool/progress.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>

#include "imagetool/commands.h"

namespace varve::imagetool {
namespace {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);  // it is set in a signal handler

constexpr auto kBarPeriod = std::chrono::milliseconds(100);
constexpr auto kLinePeriod = std::chrono::seconds(1);
constexpr int kBarWidth = 24;

std::string time_text(double seconds) {
  const auto whole = static_cast<long>(std::min(seconds, 360000.0) + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  return fmt::format("{}:{:02} min", whole / 60, whole % 60);
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
  clear_bar();
}

bool ProgressMonitor::cancelled() const {
  return interrupted.load(std::memory_order_relaxed);
}

void ProgressMonitor::begin(std::string_view label, std::uint64_t total_bytes) {
  clear_bar();
  label_ = label;
  running_ = true;
  total_bytes_ = total_bytes;
  done_bytes_ = 0;
  begin_ = Clock::now();
  next_draw_ = begin_ + kBarPeriod;
}

void ProgressMonitor::advance(std::uint64_t bytes) {
  done_bytes_ += bytes;
  if (running_ && style_ != Style::kNone && Clock::now() >= next_draw_) draw(false);
}

void ProgressMonitor::end() {
  if (running_ && style_ == Style::kPlain) draw(true);
  clear_bar();
  running_ = false;
}

std::string ProgressMonitor::line(double seconds, bool last) const {
  const double rate = static_cast<double>(done_bytes_) / std::max(seconds, 1e-3);
  if (total_bytes_ == 0) {
    return done_bytes_ == 0 ? fmt::format("{}: {}", label_, last ? "done" : "...")
                            : fmt::format("{}: {}", label_, human_bytes(done_bytes_));
  }
  std::string text = fmt::format("{}: {} of {}, {}/s", label_, human_bytes(done_bytes_),
                                 human_bytes(total_bytes_), human_bytes(static_cast<std::uint64_t>(rate)));
  if (last) return text + fmt::format(", {} in all", time_text(seconds));
  const std::uint64_t left = total_bytes_ - std::min(done_bytes_, total_bytes_);
  if (rate > 1) text += fmt::format(", {} left", time_text(static_cast<double>(left) / rate));
  return text;
}

void ProgressMonitor::draw(bool last) {
  const auto now = Clock::now();
  const std::string text = line(std::chrono::duration<double>(now - begin_).count(), last);
  next_draw_ = now + (style_ == Style::kBar ? Clock::duration(kBarPeriod) : Clock::duration(kLinePeriod));
  if (style_ == Style::kPlain) {
    std::fputs((text + "\n").c_str(), stderr);
    return;
  }
  std::string bar;
  if (total_bytes_ > 0) {
    const double part = std::min(1.0, static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_));
    const auto full = static_cast<std::size_t>(part * kBarWidth);
    bar = "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') +
          fmt::format("] {:3.0f}% ", part * 100);
  }
  std::fputs(("\r\x1b[K" + bar + text).c_str(), stderr);
  drawn_ = true;
}

void ProgressMonitor::clear_bar() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

void ProgressMonitor::warn(const std::string& text) {
  clear_bar();
  print_warning(text);
}

}  // namespace varve::imagetool
