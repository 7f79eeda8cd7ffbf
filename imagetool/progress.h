#pragma once

// ProgressMonitor: how far long work is, on standard error: a bar with rate and time left on a terminal,
// plain lines, or nothing. And Ctrl-C: install_interrupt_handlers() turns SIGINT, SIGTERM and SIGHUP into
// Monitor::cancelled(), so that work returns and leaves nothing half-written. Thread rule: one thread;
// signals may come at any time.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "imagetool/image/source/tree_source.h"

namespace varve::imagetool {

void install_interrupt_handlers();

class ProgressMonitor : public image::Monitor {
 public:
  // `kind`: "auto" (a bar when standard error is a terminal, else nothing), "plain", "none".
  static std::unique_ptr<ProgressMonitor> make(std::string_view kind);
  ~ProgressMonitor() override;

  void begin(std::string_view label, std::uint64_t total_bytes) override;
  void advance(std::uint64_t bytes) override;
  void end() override;
  void warn(const std::string& text) override;
  bool cancelled() const override;

 private:
  enum class Style { kBar, kPlain, kNone };
  using Clock = std::chrono::steady_clock;
  explicit ProgressMonitor(Style style) : style_(style) {}
  void draw(bool last);
  std::string line(double seconds, bool last) const;
  void clear_bar();

  Style style_;
  std::string label_;
  bool running_ = false;
  bool drawn_ = false;  // a bar stands on the terminal's line
  std::uint64_t total_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  Clock::time_point begin_;
  Clock::time_point next_draw_;
};

}  // namespace varve::imagetool
